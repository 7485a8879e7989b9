"""LitServe with one worker: `litserve_app.py --port N --threads N --batch N --models NAME=PATH ..`."""

import argparse

import litserve
import numpy as np
import onnxruntime


class Model(litserve.LitAPI):
    """JSON `{"x": rows}` in and `{"y": rows}` out."""

    def __init__(self, path, threads, **more):
        super().__init__(**more)
        self.path, self.threads = path, threads

    def setup(self, device):
        """Loads the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def batch(self, inputs):
        """Rows of several requests in one array."""
        return np.concatenate(inputs)

    def unbatch(self, output):
        """One row each."""
        return [output[i : i + 1] for i in range(len(output))]

    def predict(self, rows):
        """One run."""
        return self.session.run(["y"], {"x": rows})[0]

    def decode_request(self, request):
        """The rows of a JSON body."""
        return np.asarray(request["x"], np.float32)

    def encode_response(self, output):
        """Rows as lists."""
        return {"y": output.tolist()}


def main():
    """Serves until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    apis = [
        Model(path, options.threads, api_path=f"/{name}/predict", max_batch_size=options.batch)
        for name, path in (each.split("=", 1) for each in options.models)
    ]
    server = litserve.LitServer(apis, accelerator="cpu", max_payload_size=64 * 2**20)
    server.run(host="127.0.0.1", port=options.port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
