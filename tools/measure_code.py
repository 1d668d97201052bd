"""Counts lines, comments, functions and types of the C code, and reads the trace of one delivery.

measure_code.py code FILE...            a table of what the files consist of
measure_code.py trace TRACE PROGRAM     the functions and files that one delivery goes through

Used by scripts/measure-code.sh, which says what each figure means.
"""

import re
import statistics
import struct
import subprocess
import sys

TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|/\*.*?\*/|//[^\n]*', re.S)
TYPE = re.compile(r"^(?:struct|enum|union) \w+ \{", re.M)
# What a reader does not have to open to follow a delivery: containers, text, locks; counters.
SUPPORT = ("src/base/", "src/telemetry/")
# Inline functions of Jansson's header, which the compiler puts into each file that calls them.
LIBRARY = ("json_incref", "json_decref")
COMMENT = "\x01"


def mark_comments(source):
    """The source with each line of a comment as one mark, and strings emptied."""
    def replace(match):
        text = match.group()
        if text[0] in "\"'":
            return '""'
        return COMMENT + ("\n" + COMMENT) * text.count("\n")
    return TOKEN.sub(replace, source)


def count_lines(marked):
    """(lines with code, lines with nothing but a comment); blank lines are neither."""
    code = comments = 0
    for line in marked.split("\n"):
        if line.replace(COMMENT, "").strip():
            code += 1
        elif COMMENT in line:
            comments += 1
    return code, comments


def function_lengths(source):
    """Lines from the brace that opens each body to the one that closes it, both counted."""
    lengths, start = [], None
    for number, line in enumerate(source.split("\n")):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            lengths.append(number - start + 1)
            start = None
    return lengths


def show(label, value, bound=""):
    print(f"{label:<52} {value:>8}   {bound}".rstrip())


def measure_code(paths):
    all_lines = code = c_code = c_comments = types = 0
    lengths, file_lines = [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        all_lines += source.count("\n")
        marked = mark_comments(source)
        lines, comments = count_lines(marked)
        code += lines
        types += len(TYPE.findall(marked))
        if path.endswith(".c"):
            c_code += lines
            c_comments += comments
            lengths += function_lengths(source)
            file_lines.append(source.count("\n"))
    lengths.sort()
    show("files (.c and .h of src/ and include/)", len(paths))
    show("lines of code", code)
    show("lines in all", all_lines)
    show("files per 1,000 lines of code", f"{1000 * len(paths) / code:.1f}", "at most 7")
    show("comment lines among the lines of .c files, %",
         f"{100 * c_comments / (c_code + c_comments):.1f}", "8 to 15")
    show("named structs, enums and unions", types)
    show("the same per 1,000 lines, blank ones and comments too",
         f"{1000 * types / all_lines:.1f}", "at most 7")
    show("functions", len(lengths))
    show("lines of a function, median", f"{statistics.median(lengths):.0f}", "10 to 15")
    show("lines of a function, 9 of 10 at most", lengths[len(lengths) * 9 // 10], "30")
    show("lines of a function, longest", lengths[-1], "at most 60")
    show("lines of a .c file, median", f"{statistics.median(file_lines):.0f}", "150 to 500")
    show("lines of a .c file, longest", max(file_lines), "at most 700")


def read_trace(trace_path, program):
    """[(thread, leaving, function, file)] in the order of the calls."""
    with open(trace_path, "rb") as file:
        data = file.read()
    records = list(struct.iter_unpack("<QQ", data[:len(data) // 16 * 16]))
    addresses = sorted({address for _, address in records})
    lines = subprocess.run(["addr2line", "-f", "-e", program], text=True, check=True,
                           input="\n".join(hex(address) for address in addresses),
                           capture_output=True).stdout.split("\n")
    names = {}
    for i, address in enumerate(addresses):
        path = lines[2 * i + 1].rsplit(":", 1)[0]
        names[address] = lines[2 * i], path[path.rfind("/src/") + 1:]
    return [(thread >> 1, thread & 1) + names[address] for thread, address in records]


def one_delivery(records):
    """The calls of the worker that delivered: from its taking of the entry to its finishing it.

    It may have waited before, so it is the last look for work that counts."""
    thread, end = next((record[0], i) for i, record in enumerate(records)
                       if record[2] == "delivery_run" and record[1])
    calls = [record for record in records[:end] if record[0] == thread]
    start = max(i for i, call in enumerate(calls) if call[2] == "find_work_locked" and not call[1])
    return [(function, path) for _, leaving, function, path in calls[start:] if not leaving]


def measure_trace(trace_path, program):
    calls = [call for call in one_delivery(read_trace(trace_path, program))
             if not call[1].startswith(SUPPORT) and call[0] not in LIBRARY]
    switches = sum(1 for one, other in zip(calls, calls[1:]) if one[1] != other[1])
    show("functions of one delivery (beyond base, telemetry)", len(set(calls)), "at most 150")
    show("files of one delivery", len({path for _, path in calls}), "at most 18")
    show("switches between files in one delivery", switches, "at most 60")
    if "-v" in sys.argv:
        last = None
        for function, path in calls:
            print(f"{path if path != last else '':<32} {function}")
            last = path


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "code":
        measure_code(sys.argv[2:])
    elif len(sys.argv) > 3 and sys.argv[1] == "trace":
        measure_trace(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)


main()
