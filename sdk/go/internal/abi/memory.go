// Package abi is what the generated bindings stand on: the types that Go does not have, and the
// memory through which the host and the suite talk.
//
// The host puts what it returns into memory that it asks of cabi_realloc, while a call of ours to it
// is under way. In that moment a component may call nothing that is the host's, and the Go runtime
// reads the clocks, which are the host's, when it collects garbage. So cabi_realloc hands out memory
// that was allocated before, and allocates only within [Unbounded], with care.
package abi

import (
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"
)

const (
	// chunkSize is how much is allocated at once.
	chunkSize = 256 << 10
	// reserve is what every call to the host finds free: a value or the headers of an answer at
	// their default limits.
	reserve = 80 << 10
	// ownSize is the size from which an allocation is no part of a chunk.
	ownSize = 16 << 10
)

// chunk is where answers go. Whoever lifts an answer refers into it, by addresses that the garbage
// collector does not see until they are lifted; before is kept so that a goroutine that is lifting is
// not overtaken.
var chunk, before = make([]byte, chunkSize), []byte(nil)

// used tells how much of chunk is taken.
var used uintptr

// Allocate gives zeroed memory that is there until pinner lets it go, and makes room for the answer to
// the call that follows.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	if size >= ownSize {
		own := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
		pinner.Pin(own)
		return own
	}
	if used+size+align+reserve > chunkSize {
		before, chunk, used = chunk, make([]byte, chunkSize), 0
	}
	pinner.Pin(unsafe.Pointer(unsafe.SliceData(chunk)))
	return take(size, align)
}

// take gives the next free memory of the chunk, or nil.
//
//go:nosplit
func take(size, align uintptr) unsafe.Pointer {
	start := (used + align - 1) &^ (align - 1)
	if start+size > chunkSize {
		return nil
	}
	used = start + size
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(chunk)), start)
}

// large is what did not fit into the chunk, until it is lifted.
var large [][]byte

// unbounded is held by who has switched the garbage collector off.
var unbounded sync.Mutex

// Unbounded makes a call to the host that may be answered with more than the reserve, and lifts it.
func Unbounded(call func()) {
	unbounded.Lock()
	defer unbounded.Unlock()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // waits for a collection that is under way
	call()
	large = nil
}

// Unpin lets go of the parameters of a call from the host. They lie in the chunk, which the garbage
// collector frees.
func Unpin() {}
