"""python -m kregistry"""

from kregistry.cli import main

if __name__ == "__main__":
    main()
