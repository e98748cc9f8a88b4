"""An HTTP server for models on one machine.

It supports TensorFlow Serving's REST protocol, and has an endpoint that takes an image file.

    request -> app: limits, token, JSON -> batcher: decode | model | finish -> JSON

Each model runs in one thread, which takes batches from a bounded queue. Other threads decode images and write
replies. A module uses only modules above it in this table:

| module | content |
|---|---|
| `refusal` | exception for a request that is refused: HTTP status and message |
| `options` | limits of a server |
| `sources` | models and their versions on disk |
| `uploads` | image files of clients: checks the number of pixels before decoding |
| `batcher` | queue, batches, threads |
| `tensorflow_rest` | TensorFlow Serving's JSON: inputs, outputs, signatures |
| `served_model` | a loaded model of any format |
| `repository` | loads, replaces and unloads versions while requests run |
| `detection_reply` | the reply of `POST /detect` |
| `app` | URLs |
| `server` | sockets and signals |

Only `loading` needs TensorFlow, and only `server` needs uvicorn.
"""
