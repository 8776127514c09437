"""The nouns, the errors, the settings and the plug-in registry; nothing but the standard library."""
