"""A server for one machine: TensorFlow Serving's REST protocol, and an endpoint that takes an image file.

    request -> app: limits, token, JSON -> batcher: decode | model | finish -> JSON

A model runs in one thread, which takes batches from a bounded queue. Images are decoded and answers are
written in threads beside it. The modules, from the bottom:

| module | what it knows |
|---|---|
| `refusal` | a request that cannot be answered: status and message |
| `options` | limits of a server |
| `sources` | models and their versions on the disk |
| `uploads` | image files of clients: pixels are limited before they are decoded |
| `batcher` | queue, batches, threads |
| `tensorflow_rest` | TensorFlow Serving's JSON: inputs, outputs, signatures |
| `served_model` | a loaded model, whatever its format |
| `repository` | versions that are loaded, swapped and unloaded beside running requests |
| `detection_reply` | the answer of `POST /detect` |
| `app` | urls |
| `server` | sockets and signals |

No module but `loading` and `server` needs TensorFlow or uvicorn.
"""
