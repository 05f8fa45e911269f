package browser

import (
	"encoding/json"
	"fmt"
)

// Text is an expression for the text of the first element that a CSS selector hits, without the space around it; null
// when there is none.
func Text(selector string) string {
	return fmt.Sprintf(`(document.querySelector(%s)?.textContent.replace(/\s+/g, ' ').trim() ?? null)`, quote(selector))
}

// Texts is one for the texts of all elements that a selector hits.
func Texts(selector string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%s)].map(e => e.textContent.replace(/\s+/g, ' ').trim())`, quote(selector))
}

// Attr is one for an attribute of the first element that a selector hits; null when there is none.
func Attr(selector, name string) string {
	return fmt.Sprintf(`(document.querySelector(%s)?.getAttribute(%s) ?? null)`, quote(selector), quote(name))
}

// Count is one for how many elements a selector hits.
func Count(selector string) string {
	return fmt.Sprintf(`document.querySelectorAll(%s).length`, quote(selector))
}

// Shown is one for whether an element is there to be seen.
func Shown(selector string) string {
	return fmt.Sprintf(`(document.querySelector(%s)?.checkVisibility({visibilityProperty: true, opacityProperty: true}) ?? false)`, quote(selector))
}

// quote is a text as JavaScript has it.
func quote(s string) string {
	b, _ := json.Marshal(s) // no text is refused
	return string(b)
}
