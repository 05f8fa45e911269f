package wish

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	strictjson "sigs.k8s.io/json"
)

// lines finds fields in a document.
type lines struct {
	first int // of the document
	node  *yamlnode.Node
}

// linesOf reads where fields are. What cannot be read has only the line of its beginning.
func linesOf(p part) *lines {
	var root yamlnode.Node
	if err := yamlnode.Unmarshal(p.text, &root); err != nil || len(root.Content) != 1 {
		return &lines{first: p.line}
	}
	return &lines{first: root.Content[0].Line, node: root.Content[0]}
}

func (l *lines) item(i int) *lines {
	list := field(l.node, "items")
	if list == nil || i >= len(list.Content) {
		return &lines{first: l.first}
	}
	return &lines{first: list.Content[i].Line, node: list.Content[i]}
}

// place puts the line in front of each of the errors about fields, in the order of the file.
func (l *lines) place(errs []error) error {
	lineOf := func(err error) int {
		if e, ok := errors.AsType[strictjson.FieldError](err); ok {
			return l.find(e.FieldPath())
		}
		return l.first
	}
	slices.SortStableFunc(errs, func(a, b error) int { return lineOf(a) - lineOf(b) })
	placed := make([]error, 0, len(errs))
	for _, err := range errs {
		placed = append(placed, fmt.Errorf("line %d: %w", lineOf(err), err))
	}
	return errors.Join(placed...)
}

// find returns the line of a field such as "spec.targetSelector.matchExpressions[0].values", or of the nearest that is
// there.
func (l *lines) find(path string) int {
	line, node := l.first, l.node
	for name := range strings.SplitSeq(path, ".") {
		name, index, indexed := strings.Cut(name, "[")
		key := keyNode(node, name)
		if key == nil {
			return line
		}
		line, node = key.Line, field(node, name)
		if i := 0; indexed {
			if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || node == nil || i >= len(node.Content) {
				return line
			}
			line, node = node.Content[i].Line, node.Content[i]
		}
	}
	return line
}

func keyNode(n *yamlnode.Node, name string) *yamlnode.Node {
	if i := keyIndex(n, name); i >= 0 {
		return n.Content[i]
	}
	return nil
}

// field returns the value of a key of a mapping, or nil.
func field(n *yamlnode.Node, name string) *yamlnode.Node {
	if i := keyIndex(n, name); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

func keyIndex(n *yamlnode.Node, name string) int {
	if n == nil || n.Kind != yamlnode.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return i
		}
	}
	return -1
}
