"""Names of nodes, images and initiators: what may go into file names and IQNs."""

import pytest
from goldherd.errors import CatalogError
from goldherd.model.images import ImageRef
from goldherd.model.names import (
    check_image_name,
    check_node_name,
    expand_nodes,
    normalise_iscsi_name,
    normalise_mac,
    parse_image_ref,
    parse_rule,
)


@pytest.mark.parametrize("name", ["a", "pc-001", "0", "a" * 63, "PC-7"])
def test_node_name_is_a_dns_label_in_small_letters(name: str) -> None:
    assert check_node_name(name) == name.lower()


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a_b", "a" * 64, "../x", "a/b", "a\n", "ä", "*"])
def test_node_name_that_is_no_dns_label_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match="can't name a node"):
        check_node_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a@1", "-a", "a.", "a b", "a" * 64])
def test_image_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match="can't name an image"):
        check_image_name(name)


def test_image_reference_with_and_without_version() -> None:
    assert parse_image_ref("debian12-gpu") == ImageRef("debian12-gpu", None)
    assert parse_image_ref("lab@12") == ImageRef("lab", 12)


@pytest.mark.parametrize("text", ["lab@", "lab@0", "lab@x", "lab@1@2", "lab@-1"])
def test_image_reference_with_a_bad_version_is_refused(text: str) -> None:
    with pytest.raises(CatalogError, match="names no version"):
        parse_image_ref(text)


def test_range_expands_with_its_padding() -> None:
    names = expand_nodes("pc-[001-040]")
    assert (names[0], names[-1], len(names)) == ("pc-001", "pc-040", 40)


def test_ranges_and_names_may_overlap_and_count_once() -> None:
    assert expand_nodes(["pc-[1-3]", "pc-2,x"]) == ["pc-1", "pc-2", "pc-3", "x"]


@pytest.mark.parametrize(
    "text", ["pc-[1-999999999999]", "a[1-1000]b[1-1000]", "pc-[1-9000],x-[1-9000]", "pc-[1-3,5-99999999]"]
)
def test_range_that_would_eat_the_memory_is_refused_unexpanded(text: str) -> None:
    with pytest.raises(CatalogError, match="more than 10000 nodes"):
        expand_nodes(text)


@pytest.mark.parametrize("text", ["", "pc-[", "pc-[a-b]", "pc-[3-1]", ","])
def test_broken_range_is_refused(text: str) -> None:
    with pytest.raises(CatalogError):
        expand_nodes(text)


def test_node_groups_of_clustershell_are_never_looked_up() -> None:
    with pytest.raises(CatalogError):
        expand_nodes("@all")


@pytest.mark.parametrize(
    ("given", "folded"),
    [
        ("IQN.2026-11.io.Goldherd:PC", "iqn.2026-11.io.goldherd:pc"),
        ("iqn.1991-05.com.microsoft:lab-7.example.org", "iqn.1991-05.com.microsoft:lab-7.example.org"),
        ("eui.02004567A425678D", "eui.02004567a425678d"),
        ("naa.52004567BA64678D", "naa.52004567ba64678d"),
        ("ANY", "any"),
    ],
)
def test_initiator_name_is_folded_as_rfc_3722_says(given: str, folded: str) -> None:
    assert parse_rule(f"initiator:{given}") == f"initiator:{folded}"


@pytest.mark.parametrize(
    "name",
    ["", "pc-1", "iqn.26-11.io:x", "iqn.2026-11.io:a b", "eui.12", "naa.1", "iqn.2026-11.io:\0", "iqn.2026-11.io:a_b"],
)
def test_name_of_no_iscsi_type_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match="can't name"):
        normalise_iscsi_name(name, "an initiator")


def test_iscsi_name_above_223_bytes_is_refused() -> None:
    prefix = "iqn.2026-11.io:"
    assert normalise_iscsi_name(prefix + "a" * (223 - len(prefix)))
    with pytest.raises(CatalogError):
        normalise_iscsi_name(prefix + "a" * (224 - len(prefix)))


@pytest.mark.parametrize("text", ["52:54:00:AB:CD:EF", "52-54-00-ab-cd-ef", "525400abcdef", "5254.00ab.cdef"])
def test_mac_address_in_every_usual_form(text: str) -> None:
    assert normalise_mac(text) == "52:54:00:ab:cd:ef"


@pytest.mark.parametrize("text", ["", "52:54:00:ab:cd", "52:54-00:ab:cd:ef", "zz:54:00:ab:cd:ef", "01:00:5e:00:00:01"])
def test_mac_address_that_no_card_has_is_refused(text: str) -> None:
    with pytest.raises(CatalogError, match=r"MAC|group address"):
        normalise_mac(text)
