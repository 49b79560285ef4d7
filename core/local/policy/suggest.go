package policy

import (
	"slices"
	"strings"
)

// suggest ends a message about a word that is not known: with those that it may be meant to be, or, when none is near,
// with all of them if they are few.
func suggest(word string, known []string) string {
	const (
		longestWord  = 64
		mostWords    = 12
		mostCompared = 1000 // more would take long, for each word that is not known
	)
	if len(known) > mostCompared {
		return ""
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	if len(word) <= longestWord {
		limit := max(2, len(word)/3)
		best, near := limit+1, []string(nil)
		for _, candidate := range known {
			switch distance := editDistance(strings.ToLower(word), strings.ToLower(candidate)); {
			case distance < best:
				best, near = distance, []string{candidate}
			case distance == best && distance <= limit:
				near = append(near, candidate)
			}
		}
		if near != nil {
			return ", did you mean " + strings.Join(near, " or ") + "?"
		}
	}
	if len(known) == 0 || len(known) > mostWords {
		return ""
	}
	return ", expected one of " + strings.Join(known, ", ")
}

// editDistance counts the bytes to insert, remove or replace to turn one word into the other.
func editDistance(a, b string) int {
	previous := make([]int, len(b)+1)
	current := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current[0] = i + 1
		for j := range len(b) {
			replace := previous[j]
			if a[i] != b[j] {
				replace++
			}
			current[j+1] = min(replace, previous[j+1]+1, current[j]+1)
		}
		previous, current = current, previous
	}
	return previous[len(b)]
}
