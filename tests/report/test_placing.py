from prunelle.report.placing import GLYPH, LATER, Sheet, shared


def test_overlaps_by_hand():
    assert shared((0, 0, 4, 2), (3, 1, 9, 9)) == 1 and shared((0, 0, 1, 1), (5, 5, 1, 1)) == 0


def test_words_go_to_the_first_spot_that_is_free():
    sheet = Sheet((0, 0, 200, 100), [(10, 40, 30, 12)])
    assert 'x="100.0" y="50.0">word<' in sheet.write("word", [(12, 50), (100, 50), (150, 50)], "said")
    assert sheet.taken[-1] == (100, 38, 4 * GLYPH, 15.0)
    assert 'x="150.0"' in sheet.write("more", [(100, 50), (150, 50)], "said")


def test_a_corner_covered_is_better_than_a_place_far_away():
    spots = [(10, 50), (100, 50)]
    width = 4 * GLYPH
    corner = Sheet((0, 0, 200, 100), [(10 + width - 1, 38, 9, LATER - 1)])
    assert 'x="10.0"' in corner.write("word", spots, "said")
    more = Sheet((0, 0, 200, 100), [(10 + width - 1, 38, 9, LATER + 1)])
    assert 'x="100.0"' in more.write("word", spots, "said")


def test_words_stay_within_the_picture_and_are_text():
    sheet = Sheet((0, 0, 60, 100))
    written = sheet.beside("<b>", 55, 50, "said")
    assert f'x="{55 - 13 - 3 * GLYPH:.1f}"' in written and "&lt;b&gt;" in written
