//go:build aperture_faults

package guard

// Fault is called at each point with its name. It is set before anything runs. The library sets it: core knows no
// environment.
var Fault = func(string) {}

// Point is a place that panics when Fault does.
func Point(name string) { Fault(name) }
