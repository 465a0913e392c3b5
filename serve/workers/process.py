"""The process of a worker: loads a model and serves it over the socket that it inherits.

It ends when the other end of the socket is closed, so that it never outlives the server.
"""

import os
import socket
import sys
from contextlib import suppress
from threading import Thread

from sottovoce.errors import SottovoceError
from sottovoce.machine.os_errors import translate_os_error
from sottovoce.runtime.live.session import open_session
from sottovoce.runtime.loading import load_model
from sottovoce.runtime.model.openvino.quiet_import import import_openvino
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.serve.workers.channel import Channel, Message
from sottovoce.serve.workers.engine import Engine


def main(descriptor: int) -> None:
    """Load the model that the first message names, and serve it.

    Args:
        descriptor: of the inherited socket.
    """
    channel = Channel(socket.socket(fileno=descriptor))
    import_openvino()
    if (first := channel.receive()) is None:  # the command line was refused
        return

    def send(**fields: object) -> None:
        channel.send(Message(fields=fields))

    try:
        model = load_model(first.fields["variant"], threads=first.fields["threads"])
    except Exception as error:
        known = translate_os_error(error) or error
        if not isinstance(known, SottovoceError):
            raise
        send(type="failed", message=str(known), exit_code=known.exit_code)
        return
    pipeline = InferencePipeline(model.session())
    engine = Engine(pipeline, lambda options: open_session(model, options), send)
    Thread(target=_receive, args=(channel, engine), daemon=True).start()
    send(type="ready", languages=pipeline.languages)
    with suppress(BrokenPipeError):  # the server is gone
        engine.run()
    sys.stderr.flush()
    os._exit(0)  # threads may still read files


def _receive(channel: Channel, engine: Engine) -> None:
    while (message := channel.receive()) is not None:
        fields = message.fields
        number = fields["id"]
        match fields["type"]:
            case "file":
                engine.add_file(fields, message.content, message.file)
            case "stream":
                engine.add_stream(number, fields["options"])
            case "samples":
                engine.feed_stream(number, message.content)
            case "end":
                engine.end_stream(number)
            case "cancel":
                engine.cancel(number)
            case _:
                pass
    engine.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
