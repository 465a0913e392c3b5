"""A page to upload a recording and read its transcript: python examples/flask_upload.py runs/base."""

import sys

from flask import Flask, render_template_string, request

from sottovoce.errors import InputError
from sottovoce.runtime import Transcriber, load

MAX_UPLOAD_BYTES = 100 * 2**20

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Transcribe</title>
<style>body { font: 1.1rem/1.5 system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>Transcribe a recording</h1>
<form method="post" enctype="multipart/form-data">
  <label>Recording <input type="file" name="audio" accept="audio/*,video/*" required></label>
  <button>Transcribe</button>
</form>
{% if message %}<p role="alert">{{ message }}</p>{% endif %}
{% for segment in segments %}<p><small>{{ "%.1f" | format(segment.start_s) }} s</small> {{ segment.text }}</p>{% endfor %}
</html>
"""


def create_app(transcriber: Transcriber) -> Flask:
    """Return the application; requests take turns at the model."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_UPLOAD_BYTES

    @app.get("/")
    def show() -> str:
        return render_template_string(PAGE)

    @app.post("/")
    def transcribe() -> tuple[str, int]:
        upload = request.files["audio"]
        try:
            transcript = transcriber.transcribe(upload.read(), name=upload.filename)
        except InputError as error:
            return render_template_string(PAGE, message=str(error)), 400
        return render_template_string(
            PAGE, segments=transcript.segments, message=" ".join(transcript.notes)
        ), 200

    return app


if __name__ == "__main__":
    create_app(load(sys.argv[1])).run()
