package guest

// #include "guest.h"
import "C"

import (
	"net"
	"sync"
	"syscall"
)

// Connection returns a connection that is closed in forked children; see connections.c.
func Connection(conn net.Conn) net.Conn {
	place := C.int(-1)
	if withDescriptor, ok := conn.(syscall.Conn); ok {
		if raw, err := withDescriptor.SyscallConn(); err == nil {
			_ = raw.Control(func(descriptor uintptr) {
				place = C.aperture_guest_remember_connection(C.int(descriptor))
			})
		}
	}
	return &connection{Conn: conn, forget: sync.OnceFunc(func() { C.aperture_guest_forget_connection(place) })}
}

// connection is a connection that forked children know of.
type connection struct {
	net.Conn
	forget func()
}

func (c *connection) Close() error {
	c.forget()
	return c.Conn.Close()
}
