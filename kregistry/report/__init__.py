"""What a plan and its build look like to people: the map from m to kernels, the timeline, the page."""
