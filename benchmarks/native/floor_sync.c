/* floor_sync.c - events, locks, channels. (See floor.h.) */
#include "floor.h"

#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* --- events -------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int set;
    Queue waiting;
} Event;

static PyTypeObject EventType;

static PyObject *
event_new(PyObject *Py_UNUSED(type), PyObject *const *Py_UNUSED(args),
          size_t Py_UNUSED(nargsf), PyObject *Py_UNUSED(names))
{
    Event *self = PyObject_New(Event, &EventType);
    if (self != NULL) {
        self->set = 0;
        self->waiting.head = self->waiting.tail = NULL;
    }
    return (PyObject *)self;
}

static PyObject *
event_wait_step(Op *op)
{
    Event *event = (Event *)op->owner;
    if (op->phase == 1) {
        return op_none();
    }
    queue_push(event->set ? &loop.ready : &event->waiting, loop.current);
    return op_yield(op, 1);
}

static PyObject *
event_wait(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return op_new(event_wait_step, self, NULL);
}

static PyObject *
event_set(Event *self, PyObject *Py_UNUSED(ignored))
{
    Task *task = self->waiting.head;
    self->waiting.head = self->waiting.tail = NULL;
    self->set = 1;
    while (task != NULL) {
        Task *next = task->next;
        task_ready(task);
        task = next;
    }
    Py_RETURN_NONE;
}

static PyMethodDef event_methods[] = {
    {"wait", event_wait, METH_NOARGS, NULL},
    {"set", (PyCFunction)event_set, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject EventType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Event",
    .tp_basicsize = sizeof(Event),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)PyObject_Free,
    .tp_methods = event_methods,
    .tp_vectorcall = event_new,
};

/* --- queues of operations ------------------------------------------------ */

typedef struct {
    Op *head, *tail;       /* borrowed: their coroutines own them */
} Waiters;

static void
waiters_push(Waiters *waiters, Op *op)
{
    op->task = loop.current;
    op->next = NULL;
    if (waiters->tail != NULL) {
        waiters->tail->next = op;
    }
    else {
        waiters->head = op;
    }
    waiters->tail = op;
}

/* The first of them, or NULL. */
static Op *
waiters_pop(Waiters *waiters)
{
    Op *op = waiters->head;
    if (op != NULL) {
        waiters->head = op->next;
        if (waiters->head == NULL) {
            waiters->tail = NULL;
        }
    }
    return op;
}

/* --- locks --------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Task *holder;          /* borrowed or NULL */
    Waiters waiting;
} Lock;

static PyTypeObject LockType;

static PyObject *
lock_new(PyObject *Py_UNUSED(type), PyObject *const *Py_UNUSED(args),
         size_t Py_UNUSED(nargsf), PyObject *Py_UNUSED(names))
{
    Lock *self = PyObject_New(Lock, &LockType);
    if (self != NULL) {
        self->holder = NULL;
        self->waiting.head = self->waiting.tail = NULL;
    }
    return (PyObject *)self;
}

static PyObject *
lock_acquire_step(Op *op)
{
    Lock *lock = (Lock *)op->owner;
    if (op->phase == 1) {
        return op_none();
    }
    if (lock->holder == NULL) {
        lock->holder = loop.current;
        task_ready(loop.current);
    }
    else {
        waiters_push(&lock->waiting, op);
    }
    return op_yield(op, 1);
}

static PyObject *
lock_acquire(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return op_new(lock_acquire_step, self, NULL);
}

static PyObject *
lock_aexit(Lock *self, PyObject *const *Py_UNUSED(args),
           Py_ssize_t Py_UNUSED(nargs))
{
    Op *op = waiters_pop(&self->waiting);
    self->holder = op == NULL ? NULL : op->task;
    if (op != NULL) {
        task_ready(op->task);
    }
    return no_checkpoint();
}

static PyMethodDef lock_methods[] = {
    {"__aenter__", lock_acquire, METH_NOARGS, NULL},
    {"__aexit__", METHOD(lock_aexit), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject LockType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Lock",
    .tp_basicsize = sizeof(Lock),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)PyObject_Free,
    .tp_methods = lock_methods,
    .tp_vectorcall = lock_new,
};

/* --- channels: both ends in one ------------------------------------------ */

typedef struct {
    PyObject_HEAD
    Py_ssize_t capacity, length, first;
    PyObject **items;      /* a ring of owned references */
    Waiters senders, receivers;
} Channel;

static PyTypeObject ChannelType;

static PyObject *
channel_new(PyObject *Py_UNUSED(type), PyObject *const *args, size_t nargsf,
            PyObject *Py_UNUSED(names))
{
    Py_ssize_t capacity = 0;
    if (PyVectorcall_NARGS(nargsf) > 0) {
        capacity = PyLong_AsSsize_t(args[0]);
        if (capacity == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    Channel *self = PyObject_New(Channel, &ChannelType);
    if (self == NULL) {
        return NULL;
    }
    self->capacity = capacity;
    self->length = self->first = 0;
    self->senders = self->receivers = (Waiters){NULL, NULL};
    self->items = PyMem_New(PyObject *, capacity + 1);
    if (self->items == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

/* Takes the reference. */
static void
channel_put(Channel *self, PyObject *value)
{
    self->items[(self->first + self->length++) % self->capacity] = value;
}

/* The reference is the caller's. */
static PyObject *
channel_take(Channel *self)
{
    PyObject *value = self->items[self->first];
    self->first = (self->first + 1) % self->capacity;
    self->length--;
    return value;
}

static void
channel_dealloc(Channel *self)
{
    while (self->length > 0) {
        Py_DECREF(channel_take(self));
    }
    PyMem_Free(self->items);
    PyObject_Free(self);
}

/* The value of an operation, whose reference goes along. */
static PyObject *
value_of(Op *op)
{
    PyObject *value = op->value;
    op->value = NULL;
    return value;
}

static PyObject *
channel_send_step(Op *op)
{
    Channel *channel = (Channel *)op->owner;
    if (op->phase == 1) {
        return op_none();
    }
    Op *receiver = waiters_pop(&channel->receivers);
    if (receiver != NULL) {
        receiver->value = value_of(op);
        task_ready(receiver->task);
        task_ready(loop.current);
    }
    else if (channel->length < channel->capacity) {
        channel_put(channel, value_of(op));
        task_ready(loop.current);
    }
    else {
        waiters_push(&channel->senders, op);
    }
    return op_yield(op, 1);
}

static PyObject *
channel_receive_step(Op *op)
{
    Channel *channel = (Channel *)op->owner;
    if (op->phase == 1) {
        return op_return(value_of(op));
    }
    Op *sender = NULL;
    if (channel->length > 0 || channel->senders.head != NULL) {
        sender = waiters_pop(&channel->senders);
        if (channel->length > 0) {
            op->value = channel_take(channel);
            if (sender != NULL) {
                channel_put(channel, value_of(sender));
            }
        }
        else {
            op->value = value_of(sender);
        }
        if (sender != NULL) {
            task_ready(sender->task);
        }
        task_ready(loop.current);
    }
    else {
        waiters_push(&channel->receivers, op);
    }
    return op_yield(op, 1);
}

static PyObject *
channel_send(PyObject *self, PyObject *value)
{
    return op_new(channel_send_step, self, value);
}

static PyObject *
channel_receive(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return op_new(channel_receive_step, self, NULL);
}

static PyMethodDef channel_methods[] = {
    {"send", channel_send, METH_O, NULL},
    {"receive", channel_receive, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ChannelType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "floor_ext.Channel",
    .tp_basicsize = sizeof(Channel),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)channel_dealloc,
    .tp_methods = channel_methods,
    .tp_vectorcall = channel_new,
};

int
floor_add_sync(PyObject *module)
{
    if (floor_add_type(module, &EventType) < 0
        || floor_add_type(module, &LockType) < 0)
    {
        return -1;
    }
    return floor_add_type(module, &ChannelType);
}
