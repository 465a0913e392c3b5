"""`sottovoce calibrate`."""

import typer

from sottovoce.cli.commands.options import (
    CalibrationData,
    Json,
    Overrides,
    RunFolder,
    Session,
    read_calibration_speech,
    show,
)


def calibrate(
    context: typer.Context,
    run_folder: RunFolder,
    data: CalibrationData = None,
    overrides: Overrides = None,
    *,
    as_json: Json = False,
) -> None:
    """Record the calibration of a run again, with other speech or other clips.

    Examples:

        sottovoce calibrate runs/tiny.en --data speech/manifest.jsonl

        sottovoce calibrate runs/tiny.en --data my-recordings/ --set calibration.n_clips=128
    """
    import json

    from sottovoce.calibrate.audit import read_report
    from sottovoce.cli.tables import describe_recording, doctor_table
    from sottovoce.optimize.pipeline import calibrate_again
    from sottovoce.recipes.load import override_recipe
    from sottovoce.runs import CALIBRATION_NAME, read_run

    session: Session = context.obj
    run = read_run(run_folder)
    recipe = override_recipe(run.recipe, overrides or ())
    speech = read_calibration_speech(session, data)
    manifest = calibrate_again(run, speech, recipe, session.terminal)
    doctor = read_report(run_folder / CALIBRATION_NAME)
    if as_json:
        content = {**manifest.facts, "doctor": None if doctor is None else doctor.model_dump(mode="json")}
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo(f"recorded {describe_recording(manifest.facts)}")
        if doctor is not None:
            show(session, doctor_table(doctor))
    session.terminal.note(f"wrote {run_folder / 'calibration'}")
    session.terminal.note(f"next: sottovoce quantize {run_folder}")
