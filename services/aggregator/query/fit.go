package query

import (
	"encoding/json"
	"fmt"
)

// budget is about how many bytes the items of an answer take at most, unless it is one item alone. It is half
// of what a NATS server takes by default: one item is at most about the size of a mirror entry.
const budget = 512 << 10

// fit returns as many of the items as take at most room bytes, and at least one. It encodes them, because
// text that a device sent can grow sixfold by its escapes.
func fit[Item any](items []Item, room int) ([]Item, error) {
	for i, item := range items {
		n, err := size(item)
		if err != nil {
			return nil, err
		}
		if room -= n; room < 0 && i > 0 {
			return items[:i], nil
		}
	}
	return items, nil
}

// fitBeside is fit for items that are sent together with something else.
func fitBeside[Item any](beside any, items []Item) ([]Item, error) {
	n, err := size(beside)
	if err != nil {
		return nil, err
	}
	return fit(items, budget-n)
}

// size returns how many bytes a value takes in an answer, with what separates it from the next.
func size(v any) (int, error) {
	var n counter
	enc := json.NewEncoder(&n)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return 0, fmt.Errorf("encode JSON: %w", err)
	}
	return int(n), nil
}

// counter counts what is written to it.
type counter int

// Write counts.
func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
