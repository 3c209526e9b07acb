"""The administration's web pages: server-rendered, without a script, a build step or an outside asset."""
