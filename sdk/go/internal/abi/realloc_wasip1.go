package abi

import "unsafe"

// early is handed out before the Go runtime stands: the adapter that gives us WASI 0.2 takes 64 KiB
// for its state and 64 KiB for its stack.
var early [3 << 16]byte

var earlyUsed uintptr

// started tells that the Go runtime stands.
var started bool

func init() {
	started = true
}

// pauseClock makes the adapter answer with the monotonic time that it last read, without asking the host:
// the Go runtime reads it when the heap grows. It reads the other clock when it collects garbage, which
// [Unbounded] prevents.
//
//go:wasmimport wasi_snapshot_preview1 adapter_monotonic_clock_set_paused
func pauseClock(paused bool)

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if !started {
		return takeEarly(size, align)
	}
	if old != nil {
		panic("handoff: the host wants to move memory")
	}
	if memory := take(size, align); memory != nil {
		return memory
	}
	pauseClock(true)
	memory := make([]byte, size+align)
	large = append(large, memory)
	pauseClock(false)
	start := unsafe.Pointer(unsafe.SliceData(memory))
	return unsafe.Add(start, -uintptr(start)&(align-1))
}

// takeEarly must not need a stack, a heap or a garbage collector.
//
//go:nosplit
func takeEarly(size, align uintptr) unsafe.Pointer {
	start := unsafe.Pointer(&early)
	at := -(uintptr(start) + earlyUsed) & (align - 1)
	if earlyUsed+at+size > unsafe.Sizeof(early) {
		return nil
	}
	memory := unsafe.Add(start, earlyUsed+at)
	earlyUsed += at + size
	return memory
}
