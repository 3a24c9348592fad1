"""kregistry completion"""

from __future__ import annotations

import click

from kregistry.cli.output import echo

_HOW = {
    "bash": 'eval "$(kregistry completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(kregistry completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "kregistry completion fish > ~/.config/fish/completions/kregistry.fish",
}


@click.command(name="completion")
@click.argument("shell", type=click.Choice(tuple(_HOW)))
def command(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    bash:  eval "$(kregistry completion bash)"    in ~/.bashrc
    zsh:   eval "$(kregistry completion zsh)"     in ~/.zshrc, after compinit
    fish:  kregistry completion fish > ~/.config/fish/completions/kregistry.fish
    """
    from click.shell_completion import get_completion_class

    from kregistry.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    echo(kind(cli, {}, "kregistry", "_KREGISTRY_COMPLETE").source(), nl=False)
