package main

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall -I${SRCDIR}/../include -fvisibility=hidden
#cgo CFLAGS: -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=implicit-function-declaration
*/
import "C"
