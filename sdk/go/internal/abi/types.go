package abi

// Handle is the number by which the host knows a resource; zero once it was given away.
type Handle struct {
	number int32
}

// MakeHandle wraps the number of a resource that we now hold.
func MakeHandle(number int32) *Handle {
	if number == 0 {
		panic("handoff: a resource without a number")
	}
	return &Handle{number}
}

// Use gives the number to lend it.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("handoff: a resource is used after it was given away")
	}
	return h.number
}

// Take gives the number away.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil is [Handle.Take] that gives zero if the number is gone already.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

// Set takes a number back.
func (h *Handle) Set(number int32) {
	if number == 0 || h.number != 0 {
		panic("handoff: a resource is taken back that was not given away")
	}
	h.number = number
}

// The cases of an option.
const (
	OptionNone = 0
	OptionSome = 1
)

// Option is a value or none.
type Option[T any] struct {
	tag   uint8
	value T
}

// None has no value.
func None[T any]() Option[T] { return Option[T]{} }

// Some has one.
func Some[T any](value T) Option[T] { return Option[T]{OptionSome, value} }

// Tag tells which case it is.
func (o Option[T]) Tag() uint8 { return o.tag }

// Some gives the value, which must be there.
func (o Option[T]) Some() T {
	if o.tag != OptionSome {
		panic("handoff: an option has no value")
	}
	return o.value
}

// Get gives the value and whether there is one.
func (o Option[T]) Get() (T, bool) { return o.value, o.tag == OptionSome }

// The cases of a result.
const (
	ResultOk  = 0
	ResultErr = 1
)

// Result is a value or an error.
type Result[T, E any] struct {
	tag   uint8
	value T
	err   E
}

// Ok is a value.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

// Err is an error.
func Err[T, E any](err E) Result[T, E] { return Result[T, E]{tag: ResultErr, err: err} }

// Tag tells which case it is.
func (r Result[T, E]) Tag() uint8 { return r.tag }

// Ok gives the value, which must be there.
func (r Result[T, E]) Ok() T {
	if r.tag != ResultOk {
		panic("handoff: a result is an error")
	}
	return r.value
}

// Err gives the error, which must be there.
func (r Result[T, E]) Err() E {
	if r.tag != ResultErr {
		panic("handoff: a result is no error")
	}
	return r.err
}

// IsErr tells whether it is an error.
func (r Result[T, E]) IsErr() bool { return r.tag == ResultErr }

// Tuple2 is a pair.
type Tuple2[T0, T1 any] struct {
	F0 T0
	F1 T1
}

// Unit is nothing.
type Unit struct{}
