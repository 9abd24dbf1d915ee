package chat

import _ "embed"

// Style is the CSS of all three pages.
//
//go:embed style.css
var Style string
