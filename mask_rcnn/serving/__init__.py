"""An HTTP server for models on one machine.

It supports TensorFlow Serving's REST protocol, and has an endpoint that takes an image file.

    request -> app: limits, token, JSON -> batcher: decode | model | finish -> JSON

Each model runs in one thread, which takes batches from a bounded queue. Other threads decode images and write
replies. A module imports only modules above it in this table:

| module | content |
|---|---|
| `request_error` | exception for a request that is refused: HTTP status and message |
| `options` | limits of a server |
| `sources` | models and their versions on disk |
| `request_body` | bodies of requests: limits of size and time |
| `uploads` | image files of clients: checks the number of pixels before decoding |
| `batcher` | queue, batches, threads |
| `tensorflow_rest` | TensorFlow Serving's JSON: inputs, outputs, signatures |
| `served_model` | a loaded model of any format |
| `repository` | loads, replaces and unloads versions while requests run |
| `detection_reply` | the reply of `POST /detect` |
| `metrics` | counters and histograms for Prometheus |
| `openapi` | description of the API |
| `app` | URLs |
| `server` | sockets and signals |
| `loading` | loads the models |

Only `loading` imports TensorFlow, and only `server` imports uvicorn.
"""
