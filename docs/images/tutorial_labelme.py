"""Photograph LabelMe with a labelled photo: `python docs/images/tutorial_labelme.py FOLDER`.

FOLDER is where `docs/tutorials/coins.py` was run. Needs `pip install labelme`, but no screen.
"""

import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from labelme.app import MainWindow
from PyQt5.QtCore import QThread
from PyQt5.QtWidgets import QApplication

PHOTO = "photos/coin-15.jpg"
PICTURE = Path(__file__).resolve().with_name("tutorial-labelme.jpg")


def main(folder: str) -> None:
    """Write tutorial-labelme.jpg beside this script."""
    os.chdir(folder)
    application = QApplication([])
    window = MainWindow(config_file=Path(os.devnull), file_or_dir=PHOTO)
    window.resize(960, 620)
    window.show()
    for _ in range(50):  # a second, until the photo is loaded and drawn
        application.processEvents()
        QThread.msleep(20)
    window.grab().save(str(PICTURE), quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
