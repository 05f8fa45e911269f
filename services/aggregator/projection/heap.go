package projection

// heap is a binary heap whose items know their position, so that any of them can be moved or removed
// in O(log n).
type heap[T any] struct {
	items  []T
	before func(a, b T) bool
	moved  func(item T, to int32)
}

// gone is the position of an item that is in no heap.
const gone int32 = -1

func (h *heap[T]) top() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.up(len(h.items) - 1)
}

// fix restores the order after the item at position i has changed.
func (h *heap[T]) fix(i int32) {
	if !h.down(int(i)) {
		h.up(int(i))
	}
}

func (h *heap[T]) remove(i int32) {
	item, last := h.items[i], len(h.items)-1
	h.items[i] = h.items[last]
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if int(i) < last {
		h.fix(i)
	}
	h.moved(item, gone)
}

func (h *heap[T]) up(i int) {
	item := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(item, h.items[parent]) {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, item)
}

func (h *heap[T]) down(i int) (moved bool) {
	item, start := h.items[i], i
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.before(h.items[right], h.items[child]) {
			child = right
		}
		if !h.before(h.items[child], item) {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, item)
	return i > start
}

func (h *heap[T]) set(i int, item T) {
	h.items[i] = item
	h.moved(item, int32(i))
}
