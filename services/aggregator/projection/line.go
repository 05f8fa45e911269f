package projection

// line is a queue. Its items know their places, so that any of them leaves in O(1).
type line[T any] struct {
	first, last *place[T]
	turn        uint64 // of the item that came last
}

// place is where an item stands in a line.
type place[T any] struct {
	item          T
	turn          uint64 // rises with each item that comes
	ahead, behind *place[T]
}

// join puts an item at the end.
func (l *line[T]) join(item T) *place[T] {
	p := &place[T]{item: item}
	l.append(p)
	return p
}

func (l *line[T]) append(p *place[T]) {
	l.turn++
	p.turn, p.ahead, p.behind = l.turn, l.last, nil
	if l.last == nil {
		l.first = p
	} else {
		l.last.behind = p
	}
	l.last = p
}

// leave takes a place out.
func (l *line[T]) leave(p *place[T]) {
	if p.ahead == nil {
		l.first = p.behind
	} else {
		p.ahead.behind = p.behind
	}
	if p.behind == nil {
		l.last = p.ahead
	} else {
		p.behind.ahead = p.ahead
	}
}

// admit has an item stand in the line or not; at is its place, nil when it has none.
func (l *line[T]) admit(at **place[T], item T, in bool) {
	switch {
	case in && *at == nil:
		*at = l.join(item)
	case !in && *at != nil:
		l.leave(*at)
		*at = nil
	}
}

// take calls f for at most n items whose turn is not after upTo, the first first. F may take them out.
func (l *line[T]) take(upTo uint64, n int, f func(*place[T])) {
	for p := l.first; p != nil && p.turn <= upTo && n > 0; n-- {
		next := p.behind
		f(p)
		p = next
	}
}
