"""`mask-rcnn detect`: finds objects in images, folders and videos, draws them, writes them as COCO does."""

import collections
import itertools
from pathlib import Path

from mask_rcnn.cli.options import add_command
from mask_rcnn.cli.predictor import add_predictor, load_predictor
from mask_rcnn.cli.progress import track
from mask_rcnn.cli.quiet import import_tensorflow

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")  # what OpenCV reads


def add_parser(commands):
    parser = add_command(commands, "detect", run, "find objects in pictures and videos")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        type=Path,
        help="image, video, or folder that is searched for both",
    )
    add_predictor(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("detections"), help="folder for the drawn pictures"
    )
    parser.add_argument("--no-pictures", action="store_true", help="draw nothing")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the detections in COCO's results form (default: none)",
    )
    parser.add_argument(
        "--score-threshold",
        metavar="SCORE",
        type=float,
        default=0.5,
        help="leave out what is less sure; to measure AP, 0.05 or less",
    )


def run(args):
    files = find_files(args.inputs, args.out)
    import_tensorflow()

    from mask_rcnn.coco_results import to_coco, write_json

    predictor = load_predictor(args)
    results, failures = [], []
    frames = _detect_files(predictor, files, args, failures)
    for image_id, (detections, source) in enumerate(track(frames, _count(files), "Detecting"), start=1):
        for entry in to_coco(detections, image_id, predictor.categories):
            results.append({**entry, **source})
    if args.json:
        write_json(args.json, results)
        print(f"Detections: {args.json}")
    if not args.no_pictures:
        print(f"Pictures: {args.out}")
    if failures:
        listed = "\n  ".join(failures)
        raise ValueError(f"{len(failures)} of {len(files)} files failed, the others are done:\n  {listed}")


def find_files(inputs, out):
    """Returns the images and videos that `inputs` name; in folders, those below `out` are our own pictures.

    Args:
        inputs: paths of files and folders.
        out: the folder that pictures are written to.

    Returns:
        A list of paths without duplicates, those of a folder in order of name.
    """
    files = {}
    for path in inputs:
        if path.is_dir():
            found = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES and out not in file.parents
            ]
            if not found:
                raise ValueError(
                    f"A folder must hold images or videos. Received: {str(path)!r}, which has none."
                )
        elif path.is_file():
            found = [path]
        else:
            raise FileNotFoundError(f"Expected a file or folder. Received: {str(path)!r}. Check the path.")
        files.update((file.resolve(), file) for file in found)
    return list(files.values())


def picture_path(file, out, taken):
    """Where the picture of `file` goes: a name in `out` that is not in `taken`, to which it is added.

    Args:
        file: path of an image or video.
        out: folder of the pictures.
        taken: set of resolved paths; the inputs are in it, so that none is ever overwritten.
    """
    suffix = ".mp4" if _is_video(file) else ".png" if file.suffix.lower() == ".png" else ".jpg"
    names = itertools.chain([file.stem], (f"{file.stem}-{number}" for number in itertools.count(2)))
    path = next(path for path in (out / f"{name}{suffix}" for name in names) if path.resolve() not in taken)
    taken.add(path.resolve())
    return path


def _is_video(file):
    return file.suffix.lower() in VIDEO_SUFFIXES


def _count(files):
    """Frames of all files; an image is one."""
    from mask_rcnn.cli.video import count_frames

    return sum(count_frames(file) if _is_video(file) else 1 for file in files)


def _detect_files(predictor, files, args, failures):
    """Yields `(Detections, where they are from)` of each frame; a bad file goes to `failures`."""
    taken = {file.resolve() for file in files}
    if not args.no_pictures:
        args.out.mkdir(parents=True, exist_ok=True)
    for file in files:
        picture = None if args.no_pictures else picture_path(file, args.out, taken)
        detect = _detect_video if _is_video(file) else _detect_image
        counts = collections.Counter()
        try:
            for detections, source in detect(predictor, file, picture, args.score_threshold):
                counts.update(predictor.categories[class_id - 1].name for class_id in detections.class_ids)
                yield detections, source
        except (ValueError, OSError) as error:
            failures.append(f"{file}: {error}")
            continue
        found = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
        print(f"{file}: {found}" + (f" -> {picture}" if picture else ""))


def _detect_image(predictor, file, picture, threshold):
    import cv2

    from mask_rcnn.data.images import read_image
    from mask_rcnn.visualize import draw

    image = read_image(file)
    detections = _detect(predictor, image, threshold)
    if picture:
        drawn = draw(image, detections, predictor.categories)
        if not cv2.imwrite(str(picture), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)):
            raise OSError(f"The picture {str(picture)!r} cannot be written. Is the disk full?")
    yield detections, {"file_name": str(file)}


def _detect_video(predictor, file, picture, threshold):
    from mask_rcnn.cli.video import frame_rate, open_writer, read_frames
    from mask_rcnn.visualize import draw

    with open_writer(picture, frame_rate(file)) as write:
        for number, image in enumerate(read_frames(file)):
            detections = _detect(predictor, image, threshold)
            if picture:
                write(draw(image, detections, predictor.categories))
            yield detections, {"file_name": str(file), "frame": number}


def _detect(predictor, image, threshold):
    detections = predictor.predict(image)
    return detections.keep(detections.scores >= threshold)
