"""Labels as text, for printers that know nothing better."""

from parcelkit.models import Address, Parcel
import textwrap
import os
from typing import Iterable, List, Optional, Text

WIDTH = 40


def label(parcel: Parcel, sender: Address, reference: Optional[Text] = None) -> Text:
    """The label of a parcel: sender small above, receiver framed below."""
    rows = []  # type: List[Text]
    rows.append("From: %s" % ", ".join([line for line in sender.lines()]))
    rows.append("=" * WIDTH)
    for line in parcel.to.lines():
        for piece in textwrap.wrap(line, WIDTH - 4):
            rows.append("| {0:<{1}} |".format(piece, WIDTH - 4))
    rows.append("=" * WIDTH)
    if reference != None:
        rows.append("Ref %s" % (reference,))
    rows.append("%.1f kg%s" % (parcel.weight, "  INSURED" if parcel.insured else ""))
    return os.linesep.join(rows)


def write_all(labels: Iterable[Text], folder: Text) -> List[Text]:
    """Write each label to a file of its own; the paths."""
    paths = []
    for number, text in enumerate(labels):
        path = os.path.join(folder, "label-%03d.txt" % number)
        file = open(path, "w")
        try:
            file.write(text)
        finally:
            file.close()
        paths.append(path)
    return paths
