"""This file is a training's step in Keras 3 on TensorFlow: the same on a CPU, on GPUs, on a TPU, on several hosts."""

import contextlib
import os
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

from include.learning.task import Task
from include.recipe import Training
from include.training.balance import weights_of
from include.training.checkpoint import Arrays, Checkpoint
from include.training.environment import place_by_tensorflow, tpu
from include.training.keras_export import graph_of
from include.training.keras_heads import Head, head_of
from include.training.layout import Layout
from include.training.loop import Loop, parts
from include.training.named import function_at
from include.training.stream import Batch, Labels, Matrix, Stream

MODELS = "include.training.keras_models"
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
        return function_at(training.model or f"{MODELS}:{layout.usual_model}")(layout, training, start)

    with strategy().scope():
        network = make("mixed_bfloat16" if training.precision == "bfloat16" else "float32")
    served = network if training.precision == "float32" else make("float32")
    return Trainer(network, served, head, training, weights_of(training, task, labels))


class Trainer(Loop):
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
        super().__init__(training)
        self.device = ",".join(each.name.rpartition("device:")[2] for each in tf.config.list_logical_devices())
        self.network = network
        self.served = served
        self.head = head
        self._class_weights = class_weights
        self._best: list[npt.NDArray[Any]] = []

    @contextlib.contextmanager
    def learning(self, steps: int, stream: Stream) -> Iterator[None]:  # noqa: ARG002  the strategy knows how many
        """Have optimiser, schedule and the step."""
        training = self.training
        with strategy().scope():
            self.optimizer = keras.optimizers.AdamW(learning_rate(training, steps), weight_decay=training.weight_decay)
            self.optimizer.build(self.network.trainable_variables)
            self._loss = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)  # of this epoch's rows so far
        self._step = tf.function(self._run_step, jit_compile=training.compile or None, reduce_retracing=True)
        yield

    def learn(self, batch: Batch) -> None:
        """Make one step: each device that this process has takes its part."""
        devices = strategy().num_replicas_in_sync // place_by_tensorflow().world
        if devices == 1:
            strategy().run(self._step, args=(batch.matrix, batch.labels, np.float32(batch.weight)))
            return
        shares = list(zip(np.array_split(batch.matrix, devices), np.array_split(batch.labels, devices), strict=True))
        weights = [np.float32(batch.weight * len(labels) * devices / len(batch.labels)) for _, labels in shares]

        def part(context: Any) -> tuple[Matrix, Labels, np.float32]:
            place = context.replica_id_in_sync_group % devices
            return (*shares[place], weights[place])

        strategy().run(self._step, args=strategy().experimental_distribute_values_from_function(part))

    def look(self, rows: tuple[Matrix, Labels]) -> tuple[Matrix, float]:
        """Return answers to rows that are not learned from, and their mean loss."""
        matrix, labels = rows
        outputs = tf.concat([self.network(part, training=False) for part in parts(matrix)], axis=0)
        outputs = tf.cast(outputs, tf.float32)
        return self.head.answers(outputs).numpy(), float(tf.reduce_mean(self.head.losses(outputs, labels)))

    def summed_loss(self) -> float:
        """Return the sum of all losses since it was last asked."""
        summed = float(self._loss.numpy())
        self._loss.assign(0.0)
        return summed

    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self._best = self.network.get_weights()

    def take_best(self) -> None:
        """Take the remembered weights, if there are any, and hand them over to what is served."""
        if self._best:
            self.network.set_weights(self._best)
        if self.served is not self.network:
            self.served.set_weights(self.network.get_weights())

    def any_of(self, *flags: bool) -> list[bool]:
        """Return whether any of the hosts says so."""
        told = tf.constant(flags, dtype=tf.float32)

        def add() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, told)

        return [bool(flag) for flag in strategy().run(tf.function(add)).numpy()]

    def state(self, stream: Stream) -> tuple[Arrays, dict[str, Any]]:  # noqa: ARG002  the same on every host
        """Return weights, the state of chance, and the optimiser's memory."""
        arrays = {f"{kind}/{number}": variable.numpy() for kind, number, variable in self._variables()}
        arrays |= {f"best/{number}": weights for number, weights in enumerate(self._best)}
        return {**arrays, "loss": np.asarray(self._loss.numpy())}, {}

    def restore(self, found: Checkpoint, stream: Stream) -> None:  # noqa: ARG002
        """Put that back."""
        for kind, number, variable in self._variables():
            variable.assign(found.arrays[f"{kind}/{number}"])
        best = found.under("best")
        self._best = [best[str(number)] for number in range(len(best))]
        self._loss.assign(found.arrays["loss"])

    def predict(self, matrix: Matrix) -> Matrix:
        """Return answers, shape [rows] or [rows, classes]."""
        predictions: Matrix = np.concatenate([self.answer(tf.convert_to_tensor(part)) for part in parts(matrix)])
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

    def _variables(self) -> Iterator[tuple[str, int, Any]]:
        """Yield all that changes in a step: weights, the state of each layer's chance, the optimiser's memory."""
        for kind, variables in (("model", self.network.variables), ("optimizer", self.optimizer.variables)):
            for number, variable in enumerate(variables):
                yield kind, number, variable


def learning_rate(training: Training, steps: int) -> Any:
    """Return the schedule of the size of steps."""
    rate = training.learning_rate
    if training.schedule == "one_cycle":
        warm = max(1, int(WARM_UP * steps))
        return CosineDecay(rate / 25, max(1, steps - warm), warmup_target=rate, warmup_steps=warm)
    return CosineDecay(rate, steps) if training.schedule == "cosine" else rate
