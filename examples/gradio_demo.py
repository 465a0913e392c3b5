"""A file and a streaming microphone in Gradio: python examples/gradio_demo.py runs/base."""

import sys

import gradio
import numpy as np
import soxr

from sottovoce.errors import InputError
from sottovoce.runtime import Committed, Partial, Transcriber, load


class Stream:
    """The live session of one visitor, with its text so far."""

    def __init__(self, transcriber: Transcriber, rate_hz: int) -> None:
        self.session = transcriber.live()
        self.resampler = soxr.ResampleStream(rate_hz, 16_000, 1, dtype="float32")
        self.text = self.tail = ""

    def feed(self, samples: np.ndarray) -> str:
        """Return the text after more samples: int16, shape (n_samples,) or (n_samples, n_channels)."""
        wave = samples.astype(np.float32).reshape(len(samples), -1).mean(axis=1) / 32768
        for event in self.session.feed(self.resampler.resample_chunk(wave)):
            if isinstance(event, Committed):
                self.text, self.tail = self.text + "".join(word.text for word in event.words), ""
            elif isinstance(event, Partial):
                self.tail = "".join(word.text for word in event.words)
        return self.text + self.tail


def create_demo(transcriber: Transcriber) -> gradio.Blocks:
    """Return the page; it sends nothing to anywhere else."""

    def transcribe(path: str | None) -> str:
        try:
            return transcriber.transcribe(path).text if path else ""
        except InputError as error:
            raise gradio.Error(str(error)) from error

    def listen(stream: Stream | None, audio: tuple[int, np.ndarray]) -> tuple[Stream, str]:
        stream = stream or Stream(transcriber, rate_hz=audio[0])
        return stream, stream.feed(audio[1])

    with gradio.Blocks(title="sottovoce", analytics_enabled=False) as demo:
        with gradio.Tab("File"):
            file = gradio.Audio(type="filepath", label="Recording")
            file.change(transcribe, file, gradio.Textbox(label="Transcript"), api_name="transcribe")
        with gradio.Tab("Microphone"):
            microphone, session = gradio.Audio(sources="microphone", streaming=True), gradio.State()
            output = [session, gradio.Textbox(label="Words")]
            microphone.start_recording(lambda: (None, ""), outputs=output)
            microphone.stream(listen, [session, microphone], output, stream_every=0.5)
    return demo


if __name__ == "__main__":
    create_demo(load(sys.argv[1])).launch()
