//go:build !aperture_faults

package guard

// Point is a place that panics in a build for tests, when it is told to. Elsewhere it is nothing.
func Point(string) {}
