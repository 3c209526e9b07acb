"""Administration: the operations behind the admin API, the console and the commands, each of them audited before it is done."""
