"""`python -m mask_rcnn` is the command `mask-rcnn`."""

from mask_rcnn.cli.main import main

if __name__ == "__main__":
    main()
