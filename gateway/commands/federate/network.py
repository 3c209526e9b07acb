"""Who takes part and how they connect: keys, certificates, the SuperLink, SuperNodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.federate.options import CA, FLOWER_HOME, SUPERLINK, Ca, FlowerHome, Institution, SuperLink, console, told


def keys(folder: Annotated[Path, typer.Argument(help="Where the keys go; existing ones are kept.")]) -> None:
    """Make an institution's identity key and SuperNode key, and print what the coordinator needs of them."""
    from federated_trainer.network import make_node_key
    from federated_trainer.roster import make_identity, public_of, read_private_key

    with told():
        identity, node = folder / "identity.key", folder / "node.key"
        public = public_of(read_private_key(identity)) if identity.exists() else make_identity(identity)
        if not node.exists():
            make_node_key(node)
        console.print(f"identity (for roster.json): {public.hex()}", markup=False, soft_wrap=True)
        console.print(f"SuperNode key (for `llmos federate register`): {node}.pub", markup=False, soft_wrap=True)


def certificates(
    folder: Annotated[Path, typer.Argument(help="Where ca.crt, server.crt and server.key go.")],
    host: Annotated[list[str], typer.Option(help="A name or address that clients reach the SuperLink by.")],
) -> None:
    """Make a private CA and the SuperLink's certificate. Send ca.crt to every institution."""
    from federated_trainer.network import make_certificates

    make_certificates(folder, host)
    console.print(f"written to {folder}", markup=False)


def server(
    tls: Annotated[Path, typer.Option(help="The folder of ca.crt, server.crt and server.key.", exists=True)],
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The SuperLink's port.")] = 9400,
    flower_home: FlowerHome = FLOWER_HOME,
) -> None:
    """Start the SuperLink (TLS, authenticated SuperNodes) and keep it running until Ctrl-C."""
    from federated_trainer.network import flower_environment, superlink_command

    flower_home.mkdir(parents=True, exist_ok=True)
    with told():
        _replace_process(superlink_command(host, port, tls, flower_home / "superlink.db"), flower_environment(flower_home, os.environ))


def register(
    public_key: Annotated[Path, typer.Argument(help="An institution's node.key.pub.", exists=True)],
    superlink: SuperLink = SUPERLINK,
    ca: Ca = CA,
    flower_home: FlowerHome = FLOWER_HOME,
) -> None:
    """Let an institution's SuperNode in, by its public key."""
    from federated_trainer.network import flower_environment, register_command, write_connection

    with told():
        write_connection(flower_home, superlink, ca.absolute())
        done = subprocess.run(register_command(public_key), env=flower_environment(flower_home, os.environ), check=False)  # noqa: S603 - ours
        raise typer.Exit(done.returncode)


def client(
    institution: Institution,
    superlink: Annotated[str, typer.Option(help="host:port of the coordinator's SuperLink.")],
    ca: Ca,
    node_key: Annotated[Path, typer.Option(help="This institution's node.key.", exists=True)],
    port: Annotated[int, typer.Option(help="A free loopback port for the SuperNode itself.")] = 9401,
    flower_home: FlowerHome = FLOWER_HOME,
) -> None:
    """Start this institution's SuperNode and keep it running until Ctrl-C. Its data stay here."""
    from federated_trainer.network import flower_environment, supernode_command
    from federated_trainer.settings import InstitutionSettings, read_settings

    with told():
        read_settings(institution, InstitutionSettings)
        command = supernode_command(superlink, ca.absolute(), node_key.absolute(), institution.absolute(), port)
        _replace_process(command, flower_environment(flower_home, os.environ))


def _replace_process(command: list[str], environment: dict[str, str]) -> None:
    """This process becomes the command: Ctrl-C and signals reach it directly."""
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606 - our own command
