"""The console's colours, light and dark, as Streamlit's options; charts take theirs from here too."""

from __future__ import annotations

from typing import Any

#: Lines and bars of a chart, in this order, in both themes.
SERIES = ("#0d9488", "#6366f1", "#d97706", "#db2777", "#0284c7", "#65a30d", "#9333ea", "#dc2626")

_LIGHT = {
    "primaryColor": "#0f766e",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f4f6f8",
    "textColor": "#1b1f27",
    "linkColor": "#0f766e",
    "borderColor": "#dfe3ea",
    "dataframeBorderColor": "#e6e9ef",
    "dataframeHeaderBackgroundColor": "#f7f8fa",
    "codeBackgroundColor": "#f4f6f8",
    "codeTextColor": "#1b1f27",
    "grayTextColor": "#4b5563",
}
_DARK = {
    "primaryColor": "#0d8a7f",  # buttons are white on it, and it stands on the dark ground: more than 4 to 1 for both
    "backgroundColor": "#12151b",
    "secondaryBackgroundColor": "#1a1e26",
    "textColor": "#e7eaf0",
    "linkColor": "#5eead4",
    "borderColor": "#2c323d",
    "dataframeBorderColor": "#262c36",
    "dataframeHeaderBackgroundColor": "#171b22",
    "codeBackgroundColor": "#1a1e26",
    "codeTextColor": "#e7eaf0",
    "grayTextColor": "#b6bdc9",
    "grayBackgroundColor": "#262c36",
}
_SHAPE: dict[str, Any] = {
    "baseRadius": "6px",
    "baseFontSize": 15,
    "headingFontSizes": ["1.6rem", "1.2rem", "1.05rem", "1rem", "0.9rem", "0.85rem"],
    "headingFontWeights": [650, 600, 600, 600, 600, 600],
    "metricValueFontSize": "1.6rem",
    "metricValueFontWeight": 600,
    "codeFontSize": "0.85rem",
    "linkUnderline": False,
    "showSidebarBorder": True,
    "showWidgetBorder": True,
    "chartCategoricalColors": list(SERIES),
}

THEME: dict[str, Any] = {
    **{f"theme.{name}": value for name, value in _SHAPE.items()},
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
    "theme.light.sidebar.backgroundColor": "#f7f8fa",
    "theme.dark.sidebar.backgroundColor": "#0e1116",
}
