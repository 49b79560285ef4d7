package core

import (
	"fmt"
	"strings"
)

// callMetadata returns Metadata by key in lower case, or the first mistake in it. An error never has a value in it, nor a
// key, since the two may have been confused.
func (o *Options) callMetadata() (map[string]string, error) {
	if len(o.Metadata) > MaxMetadata {
		return nil, &ArgumentError{"metadata", fmt.Sprintf("has %d entries; at most %d can be sent", len(o.Metadata), MaxMetadata)}
	}
	metadata := make(map[string]string, len(o.Metadata))
	size := 0
	for i, entry := range o.Metadata {
		wrong := metadataProblem(entry)
		key := strings.ToLower(entry.Key)
		if _, twice := metadata[key]; twice && wrong == "" {
			wrong = "has the key of an earlier entry; give each key once"
		}
		if wrong != "" {
			return nil, &ArgumentError{"metadata", fmt.Sprintf("entry %d of %d %s", i+1, len(o.Metadata), wrong)}
		}
		metadata[key] = entry.Value
		size += len(key) + len(entry.Value)
	}
	if size > MaxMetadataBytes {
		return nil, &ArgumentError{"metadata", fmt.Sprintf("has %d bytes of keys and values; at most %d can be sent", size, MaxMetadataBytes)}
	}
	return metadata, nil
}

// metadataProblem says what is wrong with an entry, "" when nothing is.
func metadataProblem(entry MetadataEntry) string {
	switch {
	case entry.Key == "":
		return "has no key"
	case strings.ContainsFunc(entry.Key, isNoKeyCharacter):
		return `has a key with a character that cannot be sent; use letters, digits, "-", "_" and "."`
	case !printable(entry.Value):
		return "has a value with a character that cannot be sent; it must be printable ASCII, without line breaks"
	case strings.Trim(entry.Value, " ") != entry.Value:
		return "has a value that begins or ends with a space, which may get lost on the way"
	}
	key := strings.ToLower(entry.Key)
	switch key {
	case "x-api-key":
		return "has the key of the API key; use the option of that name"
	case "user-agent":
		return "has the key of the user agent; use the option of that name"
	case "content-type", "content-length", "te", "host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return "has a key that belongs to HTTP"
	}
	switch {
	case strings.HasPrefix(key, "grpc-"):
		return `has a key that belongs to gRPC, as all that begin with "grpc-"`
	case strings.HasSuffix(key, "-bin"):
		return `has a key that ends in "-bin", which is for binary values; those cannot be sent`
	}
	return ""
}

// isNoKeyCharacter says whether a character cannot be in the key of an entry.
func isNoKeyCharacter(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}
