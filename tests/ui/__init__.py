"""The tests in a real JupyterLab are one package, so that its browser and server end with the last of them."""
