"""Where the bars stand."""

from deploy_ops.release.page.chart import HEIGHT, LOWEST, chart


def test_bars_stand_on_the_ground_and_the_highest_fills_the_chart():
    found = chart([10, 5, 0.001, 0], slots=6)
    assert [bar.height for bar in found.bars] == [HEIGHT, HEIGHT / 2, LOWEST, 0]
    assert all(bar.y + bar.height == HEIGHT for bar in found.bars)
    assert found.bars[-1].x + found.bar_width < found.width == 60
    assert chart([], slots=6).most == 0
