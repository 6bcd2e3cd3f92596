"""This file is the training loop in Keras 3 on TensorFlow: the same on a CPU, on GPUs, on a TPU, on several hosts."""

import contextlib
import os
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # it tells at length which devices are not there

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from include.errors import TrainingInterruptedError
from include.learning.task import Task
from include.recipe import Training
from include.training.balance import weights_of
from include.training.checkpoint import Checkpoint, Checkpoints
from include.training.curves import Curves, Judge, no_judge
from include.training.environment import place_by_tensorflow, tpu
from include.training.keras_export import graph_of
from include.training.keras_heads import Head, head_of
from include.training.layout import Layout
from include.training.named import function_at
from include.training.notice import Notice
from include.training.stream import Batch, Labels, Matrix, Stream

MODEL = "include.training.keras_models:tabular_mlp"
PREDICTED_AT_ONCE = 16_384
AGREE_STEPS = 16  # several hosts stop and save together: they ask each other every so many steps
WARM_UP = 0.3  # of all steps, and from a 25th of the rate: as PyTorch's one-cycle schedule


def make_deterministic(seed: int, threads: int = 1) -> None:
    """Make the same data and the same seed give the same model, bit for bit, on one kind of machine."""
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def version() -> str:
    """Return what of this framework a training depends on."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return f"keras {keras.__version__}, tensorflow {tf.__version__}, {threads} threads"


@contextlib.contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Give (rank, number of processes) as TF_CONFIG tells them; (0, 1) for one alone."""
    place = place_by_tensorflow()
    yield place.rank, place.world


@cache
def strategy() -> tf.distribute.Strategy:
    """Return how the devices that are there share the work: TPU, several machines, several GPUs, or one device."""
    if name := tpu():
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    if place_by_tensorflow().world > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def build(training: Training, layout: Layout, task: Task, labels: npt.NDArray[Any]) -> "Trainer":
    """Return a trainer of the network that the YAML names, ready to learn.

    :param labels: the window's, encoded: the network's first answer is the best constant one.
    """
    head = head_of(task)
    start = head.start(labels)

    def make(policy: str) -> keras.Model:
        keras.config.set_dtype_policy(policy)
        return function_at(training.model or MODEL)(layout, training, start)

    with strategy().scope():
        network = make("mixed_bfloat16" if training.precision == "bfloat16" else "float32")
    served = network if training.precision == "float32" else make("float32")
    return Trainer(network, served, head, training, weights_of(training, task, labels))


class Trainer:
    """Fits a network to labels; the head says what its outputs mean.

    :param served: the network as it is served, in full precision; it takes over the weights that were learned.
    :param class_weights: how much a row of each class counts; none: all the same.
    """

    def __init__(  # noqa: PLR0913  what it trains, and how
        self,
        network: keras.Model,
        served: keras.Model,
        head: Head,
        training: Training,
        class_weights: Matrix | None = None,
    ) -> None:
        """Note network and head; nothing is learned yet."""
        self._class_weights = class_weights
        self._best: list[npt.NDArray[Any]] = []
        self.training = training
        self.network = network
        self.served = served
        self.head = head
        self.curves = Curves(training.epochs)
        self._was_saved = False

    def fit(  # noqa: PLR0913  what is learned from, looked at, and kept
        self,
        stream: Stream,
        holdout: tuple[Matrix, Labels],
        judge: Judge = no_judge,
        checkpoints: Checkpoints | None = None,
        notice: Notice | None = None,
        validation: tuple[Matrix, Labels] | None = None,
    ) -> Curves:
        """Learn for all epochs, or go on where a checkpoint left off, and return the curves.

        :param holdout: only looked at.
        :param judge: returns the metrics of predictions for the hold-out.
        :param validation: its loss says when to stop, where the YAML has `patience`.
        :raises TrainingFailedError: if the loss is no longer a number.
        :raises TrainingInterruptedError: if notice was given; the state after the last step is saved.
        """
        training, steps = self.training, stream.steps_per_epoch
        self._prepare(steps * training.epochs)
        found = checkpoints.newest() if checkpoints else None
        first = self._restore(found) if found else 0
        run_step = tf.function(self._run_step, jit_compile=training.compile or None, reduce_retracing=True)
        started, began_at = time.perf_counter(), first
        for step, batch in enumerate(stream.batches(training.epochs, first), first + 1):
            self._share(run_step, batch)
            if step % steps == 0:
                speed = (step - began_at) * stream.batch_size / (time.perf_counter() - started)
                is_over = validation is not None and self._is_over(validation)
                self._end_epoch(step // steps, stream.blocks.num_rows, speed, holdout, judge)
                started, began_at = time.perf_counter(), step
                if is_over:
                    break
            self._pause(step, stream, checkpoints, notice)
        self._end(steps * training.epochs, stream.rank, checkpoints)
        return self.curves

    def _prepare(self, steps: int) -> None:
        """Make optimiser and schedule."""
        training = self.training
        with strategy().scope():
            self.optimizer = keras.optimizers.AdamW(learning_rate(training, steps), weight_decay=training.weight_decay)
            self.optimizer.build(self.network.trainable_variables)
            self._loss = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)  # of this epoch's rows so far

    def _end(self, step: int, rank: int, checkpoints: Checkpoints | None) -> None:
        """Take the best weights, if any were chosen, and hand them over to what is served."""
        if self._best:
            self.network.set_weights(self._best)
        if checkpoints and self._was_saved:  # only what took long enough to be saved is worth saving at the end
            self._save(step, rank, checkpoints)
        if self.served is not self.network:
            self.served.set_weights(self.network.get_weights())

    def predict(self, matrix: Matrix) -> Matrix:
        """Return answers, shape [rows] or [rows, classes]."""
        parts = [self.answer(tf.convert_to_tensor(part)) for part in _parts(matrix)]
        predictions: Matrix = np.concatenate([part.numpy() for part in parts])
        return predictions

    def answer(self, matrix: Any) -> Any:
        """Return answers to a matrix as a tensor: the model as it is served."""
        return self.head.answers(self.served(matrix, training=False))

    def graph(self, width: int) -> onnx.ModelProto:
        """Return the model as it is served as an ONNX graph."""
        return graph_of(self.answer, width)

    def weights(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all that was learned."""
        return (variable.numpy() for variable in self.network.weights)

    def _share(self, run_step: Any, batch: Batch) -> None:
        """Let each device that this process has take its part of a step."""
        devices = strategy().num_replicas_in_sync // place_by_tensorflow().world
        if devices == 1:
            strategy().run(run_step, args=(batch.matrix, batch.labels, np.float32(batch.weight)))
            return
        parts = list(zip(np.array_split(batch.matrix, devices), np.array_split(batch.labels, devices), strict=True))
        weights = [np.float32(batch.weight * len(labels) * devices / len(batch.labels)) for _, labels in parts]

        def part(context: Any) -> tuple[Matrix, Labels, np.float32]:
            place = context.replica_id_in_sync_group % devices
            return (*parts[place], weights[place])

        strategy().run(run_step, args=strategy().experimental_distribute_values_from_function(part))

    def _run_step(self, matrix: Any, labels: Any, weight: Any) -> None:
        variables = self.network.trainable_variables
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            losses = self.head.losses(tf.cast(self.network(matrix, training=True), tf.float32), labels)
            if self._class_weights is not None:
                losses *= tf.gather(self._class_weights, tf.cast(labels, tf.int32))
            loss = tf.reduce_mean(losses) * weight / context.num_replicas_in_sync
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        if context.num_replicas_in_sync > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, variables)
        self._loss.assign_add(tf.reduce_sum(losses))

    def _end_epoch(self, epoch: int, num_rows: int, speed: float, holdout: tuple[Matrix, Labels], judge: Judge) -> None:
        outputs, loss = self._look(holdout)
        self.curves.add(
            epoch,
            self.training,
            loss=float(self._loss.numpy()) / num_rows,
            holdout_loss=loss,
            speed=speed,
            quality=judge(self.head.answers(outputs).numpy()),
            device=",".join(device.name.rpartition("device:")[2] for device in tf.config.list_logical_devices()),
        )
        self._loss.assign(0.0)

    def _look(self, rows: tuple[Matrix, Labels]) -> tuple[Any, float]:
        """Return the outputs for rows that are not learned from, and their mean loss."""
        matrix, labels = rows
        outputs = tf.concat([self.network(part, training=False) for part in _parts(matrix)], axis=0)
        outputs = tf.cast(outputs, tf.float32)
        return outputs, float(tf.reduce_mean(self.head.losses(outputs, labels)))

    def _is_over(self, validation: tuple[Matrix, Labels]) -> bool:
        """Note an epoch's loss on the validation rows; tell whether the best one was long enough ago."""
        is_best, is_over = self.curves.add_validation(self._look(validation)[1], self.training.patience)
        if is_best:
            self._best = self.network.get_weights()
        return is_over

    def _pause(self, step: int, stream: Stream, checkpoints: Checkpoints | None, notice: Notice | None) -> None:
        """Save if it is time, and stop if that was asked for: on several hosts all do so after the same step."""
        is_asked, is_due = bool(notice), bool(stream.rank == 0 and checkpoints and checkpoints.is_due())
        if stream.world > 1:
            if step % AGREE_STEPS:
                return
            is_asked, is_due = (bool(each) for each in _agree(float(is_asked), float(is_due)))
        if checkpoints and (is_asked or is_due):
            self._save(step, stream.rank, checkpoints)
        if is_asked:
            raise TrainingInterruptedError(f"Asked to end: stopped after step {step}, to go on from there.")

    def _save(self, step: int, rank: int, checkpoints: Checkpoints) -> None:
        self._was_saved = True
        if rank:
            return
        arrays = {f"{kind}/{number}": variable.numpy() for kind, number, variable in self._variables()}
        arrays |= {f"best/{number}": weights for number, weights in enumerate(self._best)}
        checkpoints.save(step, {**arrays, "loss": np.asarray(self._loss.numpy())}, {"curves": self.curves.as_state()})

    def _restore(self, found: Checkpoint) -> int:
        for kind, number, variable in self._variables():
            variable.assign(found.arrays[f"{kind}/{number}"])
        best = found.under("best")
        self._best = [best[str(number)] for number in range(len(best))]
        self._loss.assign(found.arrays["loss"])
        self.curves = Curves.from_state(found.state["curves"])
        return found.step

    def _variables(self) -> Iterator[tuple[str, int, Any]]:
        """Yield all that changes in a step: weights, the state of each layer's chance, the optimiser's memory."""
        for kind, variables in (("model", self.network.variables), ("optimizer", self.optimizer.variables)):
            for number, variable in enumerate(variables):
                yield kind, number, variable


def _agree(*flags: float) -> list[float]:
    """Return the sums of flags over all hosts."""

    def add() -> Any:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, [tf.constant(flags)])

    return list(strategy().run(tf.function(add))[0].numpy())


def learning_rate(training: Training, steps: int) -> Any:
    """Return the schedule of the size of steps."""
    rate = training.learning_rate
    if training.schedule == "one_cycle":
        warm = max(1, int(WARM_UP * steps))
        return CosineDecay(rate / 25, max(1, steps - warm), warmup_target=rate, warmup_steps=warm)
    return CosineDecay(rate, steps) if training.schedule == "cosine" else rate


def _parts(matrix: Matrix) -> Iterator[Matrix]:
    return (matrix[place : place + PREDICTED_AT_ONCE] for place in range(0, max(1, len(matrix)), PREDICTED_AT_ONCE))
