package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hashOf returns the first 16 bytes of a SHA-256 over a value, in hexadecimal: the form of an Aperture controller's
// policy hash, though not its content.
func hashOf(node *yaml.Node) string {
	sum := sha256.New()
	writeCanonical(sum, node)
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// writeCanonical writes a value without comments, anchors and layout, and with its keys in order. Lengths in front of
// texts keep different values different.
func writeCanonical(sum hash.Hash, node *yaml.Node) {
	node = resolve(node)
	switch node.Kind {
	case yaml.MappingNode:
		type pair struct{ key, value *yaml.Node }
		pairs := make([]pair, 0, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			pairs = append(pairs, pair{node.Content[i], node.Content[i+1]})
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.key.Value, b.key.Value) })
		fmt.Fprintf(sum, "{%d:", len(pairs))
		for _, pair := range pairs {
			writeCanonical(sum, pair.key)
			writeCanonical(sum, pair.value)
		}
	case yaml.SequenceNode:
		fmt.Fprintf(sum, "[%d:", len(node.Content))
		for _, element := range node.Content {
			writeCanonical(sum, element)
		}
	default:
		tag := node.ShortTag()
		fmt.Fprintf(sum, "%d:%s%d:%s", len(tag), tag, len(node.Value), node.Value)
	}
}
