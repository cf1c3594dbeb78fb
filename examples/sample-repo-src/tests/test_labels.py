from parcelkit.labels import label, write_all
from parcelkit.models import Address, Parcel

ADA = Address("Ada Lovelace", "12 Mill Lane", "80331", "Munich")
BOB = Address("Bob", "Rue X", "75001", "Paris", "FR")


def test_a_label_names_both_ends():
    text = label(Parcel(2.0, BOB), ADA, reference="A-17")
    assert text.splitlines()[0] == "From: Ada Lovelace, 12 Mill Lane, 80331 Munich"
    assert "| Bob" in text
    assert "Ref A-17" in text
    assert text.endswith("2.0 kg")


def test_an_insured_parcel_says_so():
    assert label(Parcel(2.0, BOB, options={"insured": True}), ADA).endswith("INSURED")


def test_labels_are_written_one_a_file(tmp_path):
    paths = write_all(["a", "b"], str(tmp_path))
    assert [p.rsplit("-", 1)[1] for p in paths] == ["000.txt", "001.txt"]
    assert (tmp_path / "label-001.txt").read_text() == "b"
