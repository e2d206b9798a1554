"""The peer over HTTP: LitServe as its documentation shows it, the public network, Pillow: `bench.peer_server PORT`."""

import base64
import importlib
import io
import sys
from typing import Any

import numpy as np
import torch
from fastapi import Response
from numpy.typing import NDArray
from PIL import Image

from app.build import cores
from bench.contestants import public_network

litserve: Any = importlib.import_module("litserve")  # optional, and without it there is nothing to run
Form = dict[str, Any]
Samples = NDArray[np.uint8]


class SuperResolution(litserve.LitAPI):  # type: ignore[misc]
    """One picture at a time, on the accelerator that LitServe gives it, or on all threads."""

    def setup(self, device: str) -> None:
        """The network, once for each worker."""
        torch.set_num_threads(cores())
        self.on = device
        self.network = public_network().to(device)

    def decode_request(self, request: Form) -> Image.Image:
        """A picture from the field `image`, in base64."""
        return Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("YCbCr")

    def predict(self, picture: Image.Image) -> Image.Image:
        """Luma by the network, chroma bicubic."""
        luma, *chroma = picture.split()
        size = (4 * picture.width, 4 * picture.height)
        with torch.inference_mode():
            tensor = torch.from_numpy(np.asarray(luma, np.float32) * (219 / 255 / 255) + 16 / 255)[None, None]
            *_, upscaled = self.network(tensor.to(self.on))
        values = (upscaled[0, 0].cpu().numpy() - 16 / 255) * (255 * 255 / 219)
        bands = [Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))]
        bands += [band.resize(size, Image.Resampling.BICUBIC) for band in chroma]
        return Image.merge("YCbCr", bands).convert("RGB")

    def encode_response(self, picture: Image.Image) -> Response:
        """A PNG with Pillow's defaults."""
        file = io.BytesIO()
        picture.save(file, "PNG")
        return Response(file.getvalue(), media_type="image/png")


def main(port: int) -> None:
    """Serves until it is ended."""
    server = litserve.LitServer(SuperResolution(), accelerator="auto", devices=1, timeout=600)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
