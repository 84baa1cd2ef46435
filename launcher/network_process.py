"""The orchestrator as a process: the relay, the operator's prompt, and signals that end them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys

import msgspec

from api.base import Event
from api.operator_events import NetworkReadyEvent
from api.sockets import network_socket_path
from config.config import Config
from console.log_notices import route_logging
from console.operator.control import OperatorControl
from console.operator.events import event_text
from console.operator.prompt import OperatorPrompt
from console.operator.table import OPERATOR_TABLE, parse_line
from console.run import Console, Form
from launcher import protection
from launcher.arguments import EXIT_FAILED, PRIVATE
from launcher.check_config import warnings
from launcher.http_api import OperatorHttp
from net.sockets import authority
from net.tls import NETWORK, TlsError
from orchestrator.service import Orchestrator
from storage.errors import StorageError
from storage.ownership import require_owner


async def serve(config: Config, form: Form | None, program: str) -> int:
    """Relays until the operator leaves or a signal arrives; in the background (`form` is None), until a signal. Returns
    the exit code of the process."""
    os.umask(PRIVATE)
    try:
        require_owner(config.data_dir, config.cluster, config.path, any_config=True)
        secret = protection.secret_of(config)
        tls = protection.tls_of(config, NETWORK)
    except (StorageError, TlsError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_FAILED
    console = Console(form or Form.PLAIN, title="network", history_path=config.data_dir / "history-network")

    def emit(event: Event) -> None:
        console.emit(event, event_text(event))
        control.tell(event)

    orchestrator = Orchestrator(
        msgspec.structs.replace(config, secret=secret), emit, parse_line, interactive=form is Form.TERMINAL, tls=tls
    )
    control = OperatorControl(network_socket_path(config.data_dir), orchestrator)
    try:
        port = await orchestrator.start()
    except OSError as error:
        print(f"{program}: {_cannot_listen(config, error)}", file=sys.stderr)
        return EXIT_FAILED
    restore_logging = route_logging(console.say)
    leaving = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(sign, leaving.set)
    host = config.orchestrator.host
    nodes = orchestrator.numbers.all
    console.emit(
        NetworkReadyEvent(port, host, nodes),
        f"network of {config.cluster} at {authority(host, port)}, for the nodes {', '.join(map(str, nodes))}; "
        "type help, or script failover",
    )
    orchestrator.announce()
    for warning in warnings(len(nodes)):
        console.say(f"warning: {warning}")
    for notice in protection.notices(config):
        console.say(notice)
    await _start_control(control, console)
    http = OperatorHttp(config, orchestrator, console.say)
    http.start()
    typing = asyncio.create_task(_wait_for_ever() if form is None else _converse(console, orchestrator))
    told_to_leave = asyncio.create_task(leaving.wait())
    try:
        await asyncio.wait([typing, told_to_leave], return_when=asyncio.FIRST_COMPLETED)
        return typing.result() if typing.done() else 0
    finally:
        typing.cancel()
        told_to_leave.cancel()
        await asyncio.wait([typing])
        await http.close()
        await control.close()
        await orchestrator.close()
        restore_logging()
        if form is None:
            await console.close()


async def _start_control(control: OperatorControl, console: Console) -> None:
    try:
        await control.start()
    except OSError as error:
        console.say(f"ctl.py cannot reach the network: {error}")


async def _converse(console: Console, orchestrator: Orchestrator) -> int:
    prompt = OperatorPrompt(orchestrator)
    return await console.run(OPERATOR_TABLE, prompt, status_line=lambda: prompt.status_line(console.layout))


async def _wait_for_ever() -> int:
    await asyncio.Event().wait()
    return 0


def _cannot_listen(config: Config, error: OSError) -> str:
    host, port = config.orchestrator.host, config.orchestrator.port
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program, perhaps this cluster's own network: stop it "
            f'one, or set another "orchestrator": {{"port": ...}} in {config.path}'
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return f'cannot listen on {authority(host, port)}: {reason}; "orchestrator" in {config.path} sets the address'
