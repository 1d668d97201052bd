"""Takes the pictures of the board for docs/. Usage: board_screenshots.py BUILD CHROMIUM DIR

They show it with a runtime, after an agent has made a document and answered."""

import os
import sys

import png
from harness import wait_for
from tour_test import LiveBoard
from webdriver import Browser

# Name, and size in pixels.
SCREENSHOTS = [("light", 1280, 800), ("phone", 390, 844)]
TASK = "Plan the launch"
MESSAGES = ["@friday write a note about the launch", "@vision what do we know about the numbers?"]


def hold_conversation(board):
    for message in MESSAGES:
        before = board.replies()
        board.message(TASK, message)
        wait_for(lambda before=before: board.replies() > before, "no reply")


def main():
    build, program, directory = sys.argv[1:]
    board = LiveBoard(build)
    browser = Browser(program)
    try:
        hold_conversation(board)
        browser.set_scheme("light")
        for name, width, height in SCREENSHOTS:
            browser.set_width(width, height)
            browser.open(board.base + "/")
            wait_for(lambda: browser.text("#runtime") == "Runtime online" and
                     "vision here." in browser.text("#thread") and not browser.text("#waiting"),
                     "the reply is missing")
            picture = png.shrink(browser.window_screenshot())
            path = os.path.join(directory, "board-%s.png" % name)
            with open(path, "wb") as file:
                file.write(picture)
            print("%s: %d bytes" % (path, len(picture)), flush=True)
    finally:
        browser.close()
        board.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
