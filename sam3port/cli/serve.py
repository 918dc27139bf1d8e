"""``sam3port serve``: a page and an API about an artifact; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from sam3port.cli.options import artifact_option, features_option, needs

_FEATURES_GB: Final = 20.0


@click.command("serve")
@artifact_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--token",
    envvar="SAM3PORT_TOKEN",
    metavar="TOKEN",
    help="Asked for of whoever uses the API; needed if other machines can (better by SAM3PORT_TOKEN).",
)
@click.option(
    "--memory", type=click.FloatRange(min=0.01), default=2.0, show_default=True, metavar="GB", help="Of pictures."
)
@click.option(
    "--upload-limit", type=click.FloatRange(min=0.01), default=40.0, show_default=True, metavar="MB", help="Of a file."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="N",
    help="Requests of one address in a second; 0 for any number.",
)
@features_option
@click.option(
    "--label-studio",
    metavar="URL",
    help="Be an ML backend of this Label Studio, at /label-studio.",
)
@click.option(
    "--label-studio-key",
    envvar="LABEL_STUDIO_API_KEY",
    metavar="TOKEN",
    help="Its legacy token, by which pictures are fetched from it (better by LABEL_STUDIO_API_KEY).",
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU (default: all).")
@needs("serve")
def serve(
    artifact: Path | None,
    host: str,
    port: int,
    token: str | None,
    memory: float,
    upload_limit: float,
    rate: float,
    features: Path | None,
    label_studio: str | None,
    label_studio_key: str | None,
    threads: int | None,
) -> None:
    """Answer over HTTP: a page for people, an API for programs.

    The page is at the printed address, the API's description at /v1/openapi.json. Ctrl-C ends it.
    """
    from sam3port.cli.console import messages
    from sam3port.cli.own_artifact import own_artifact
    from sam3port.runtime.features import FeatureFolder
    from sam3port.runtime.model import load
    from sam3port.serve import server
    from sam3port.serve.app import application
    from sam3port.serve.label_studio import Source
    from sam3port.serve.limits import MEGA, Limits
    from sam3port.serve.service import Service

    server.check_token(host, token)
    labels_from = None if label_studio is None else Source(label_studio, label_studio_key)
    artifact = artifact or own_artifact()
    limits = Limits(
        upload_bytes=round(upload_limit * MEGA), memory_bytes=round(memory * 1000 * MEGA), rate=rate, burst=4 * rate
    )
    folder = None if features is None else FeatureFolder(features, round(_FEATURES_GB * 1e9))
    listening = server.listen(host, port)
    try:
        with messages().status("opening the artifact"):
            model = load(artifact, threads)
    except BaseException:
        listening.close()
        raise
    if "seed" in model.manifest.weights:
        click.echo("the artifact's weights come from a seed: masks and scores mean nothing", err=True)
    app = application(Service(model, limits, folder), token, labels_from)
    server.serve(app, listening, lambda: click.echo(f"sam3port answers at {server.address(listening)}"))
    click.echo("sam3port: stopped", err=True)
