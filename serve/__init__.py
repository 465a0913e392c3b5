"""Serve runs over HTTP: OpenAI's audio API, live transcription and a page."""
