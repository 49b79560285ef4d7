package policy

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var (
	errDuration     = errors.New("not decimal seconds with the suffix s")
	errLongDuration = errors.New("duration too long")
)

// parseDuration reads a duration as policies write it: decimal seconds with at most nine digits after the point and
// the suffix s. Go's other units are no part of the format, so "500ms" and "1m" are errors.
func parseDuration(text string) (time.Duration, error) {
	number, ok := strings.CutSuffix(text, "s")
	if !ok {
		return 0, errDuration
	}
	whole, fraction, point := strings.Cut(number, ".")
	if !digits(whole) || point && !digits(fraction) || len(fraction) > 9 {
		return 0, errDuration
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds >= int64(math.MaxInt64/time.Second) {
		return 0, errLongDuration
	}
	nanoseconds, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return 0, errDuration
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), nil
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
