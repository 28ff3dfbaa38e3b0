"""Makes pictures and clips with models of the diffusers library; `vfaq` starts it and speaks to it.

One JSON object a line comes in on stdin and goes out on stdout; what the lines are is written in
`src/generate/diffusers/protocol.rs`. Everything that libraries print goes to stderr. The program
ends when its stdin does, in the middle of a job too.

A thread reads stdin, so that a job can be cancelled while the main thread makes it. Models are
loaded by the first job that needs them and stay loaded.
"""

import argparse
import contextlib
import importlib.util
import inspect
import json
import math
import os
import platform
import queue
import sys
import threading
import traceback

PROTOCOL = 1
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "PIL", "numpy")
# GPUs with less memory than this keep only the part of a model there that is at work.
SMALL_GPU_GB = 17

# Sampler, as it is written most plainly: the class of its scheduler, and how that is set up.
EULER_A = ("EulerAncestralDiscreteScheduler", {})
DPMPP_2M = ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"})
SAMPLERS = {
    "euler": ("EulerDiscreteScheduler", {}),
    "eulerdiscrete": ("EulerDiscreteScheduler", {}),
    "eulera": EULER_A,
    "eulerancestral": EULER_A,
    "eulerancestraldiscrete": EULER_A,
    "heun": ("HeunDiscreteScheduler", {}),
    "heundiscrete": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "lmsdiscrete": ("LMSDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpm2ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp2m": DPMPP_2M,
    "dpmsolver": DPMPP_2M,
    "dpmsolverpp": DPMPP_2M,
    "dpmsolvermultistep": DPMPP_2M,
    "dpmpp2msde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmppsde": ("DPMSolverSinglestepScheduler", {}),
    "dpmpp2s": ("DPMSolverSinglestepScheduler", {}),
    "dpmsolversinglestep": ("DPMSolverSinglestepScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "plms": ("PNDMScheduler", {"skip_prk_steps": True}),
    "deis": ("DEISMultistepScheduler", {}),
    "deismultistep": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "unipcmultistep": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}


class Failed(Exception):
    """A job that cannot be done, and whose fault that is."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Pipe:
    """The way to vfaq: the stdout that the process was started with."""

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()

    def say(self, event, **fields):
        line = json.dumps({"event": event, **fields})
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()


class Jobs(threading.Thread):
    """What vfaq wants, in order; and which job it wants no more."""

    def __init__(self, pipe):
        super().__init__(name="stdin", daemon=True)
        self.pipe = pipe
        self.waiting = queue.Queue()
        self.loading = None
        self._cancelled = set()

    def run(self):
        try:
            for line in sys.stdin.buffer:
                command = json.loads(line)
                if command["do"] == "job":
                    self.waiting.put(command)
                elif command["do"] == "cancel":
                    self._cancelled.add(command["id"])
                    if self.loading == command["id"]:
                        self.pipe.say("loading", id=command["id"])
        except Exception as error:
            self.pipe.say("failed", id=None, kind="other", message=f"vfaq sent nonsense: {error}")
        # Whatever the main thread is at, nobody waits for it.
        os._exit(0)

    def check(self, job):
        if job["id"] in self._cancelled:
            raise Failed("cancelled", "cancelled")

    def ended(self, job):
        self._cancelled.discard(job["id"])

    @contextlib.contextmanager
    def while_loading(self, job):
        self.loading = job["id"]
        try:
            self.check(job)
            yield
        finally:
            self.loading = None
        self.check(job)


class Machine:
    """What the models run on."""

    def __init__(self, torch, device, dtype):
        self.torch = torch
        self.notes = []
        mps = getattr(torch.backends, "mps", None)
        has = {"cuda": torch.cuda.is_available(), "mps": bool(mps and mps.is_available())}
        found = "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
        self.device = device or found
        self.kind = self.device.split(":")[0]
        if not has.get(self.kind, True):
            raise Failed(
                "setting",
                f"backend.device is {self.device}, which torch {torch.__version__} does not have"
                f" here; expected {found}",
            )
        default = "float16" if self.kind == "cuda" else "float32"
        self.dtype_name = (dtype or default).removeprefix("torch.")
        short = {"fp16": "float16", "half": "float16", "fp32": "float32", "bf16": "bfloat16"}
        self.dtype_name = short.get(self.dtype_name, self.dtype_name)
        if self.dtype_name not in ("float16", "float32", "bfloat16"):
            raise Failed(
                "setting",
                f"backend.dtype is {dtype}, expected float16, bfloat16 or float32",
            )
        self.dtype = getattr(torch, self.dtype_name)
        self.small = False
        self.name = self.device
        if self.kind == "cuda":
            found = torch.cuda.get_device_properties(self.device)
            gb = found.total_memory / 2**30
            self.small = gb < SMALL_GPU_GB
            self.name = f"{self.device} ({found.name}, {gb:.0f} GB)"
            if self.small:
                self.notes.append(
                    f"the GPU has {gb:.0f} GB: models are moved there part by part, which is slower"
                )
        if self.kind == "cpu":
            self.notes.append(
                "runs on the CPU, where a picture takes minutes and a clip longer; torch finds no"
                " GPU" if not device else "runs on the CPU, as backend.device says: this is slow"
            )
            if self.dtype_name == "float16":
                self.notes.append("float16 fails or crawls on most CPUs; set backend.dtype: float32")

    def place(self, pipeline):
        """Brings the pipeline to where it runs."""
        if self.small:
            pipeline.enable_model_cpu_offload(device=self.device)
        else:
            pipeline.to(self.device)

    def tidy(self):
        import gc

        gc.collect()
        if self.kind == "cuda":
            self.torch.cuda.empty_cache()
        elif self.kind == "mps":
            self.torch.mps.empty_cache()


def is_out_of_memory(error):
    name = type(error).__name__
    text = str(error).lower()
    return isinstance(error, MemoryError) or name == "OutOfMemoryError" or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text)
    )


def chain(error):
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:500] if lines else type(error).__name__


def loading_failed(model, key, error):
    """Why a model does not load, and what to do about it."""
    errors = chain(error)
    names = {type(e).__name__ for e in errors}
    text = " ".join(str(e) for e in errors)
    package = next((e for e in errors if isinstance(e, ImportError)), None)
    if package is not None:
        return Failed("package", f"{key}: {model} needs a Python package: {first_line(package)}")
    if is_out_of_memory(error):
        return Failed("memory", f"loading {model} ({key}): {first_line(error)}")
    if os.path.exists(model):
        return Failed(
            "model",
            f"{key}: the folder {model} does not load: {first_line(error)}; expected a model as"
            " diffusers saves it, with a model_index.json in it",
        )
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        return Failed(
            "model",
            f"{key}: there is no folder {model}, and it is no id on the Hugging Face hub"
            " (OWNER/NAME)",
        )
    if "GatedRepoError" in names:
        return Failed(
            "model",
            f"{key}: {model} is gated: accept its licence on https://huggingface.co/{model}, then"
            " run `hf auth login`, or set HF_TOKEN",
        )
    if "RepositoryNotFoundError" in names:
        return Failed(
            "model",
            f"{key}: there is no {model} on the Hugging Face hub, or it is private (then run `hf"
            " auth login`, or set HF_TOKEN); check the name",
        )
    if names & {"EntryNotFoundError", "RemoteEntryNotFoundError"}:
        return Failed(
            "model",
            f"{key}: {model} is not saved for diffusers (it has no model_index.json, or not all"
            f" that this names): {first_line(error)}",
        )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Failed(
            "model",
            f"{key}: {model} is not on this disk (not all of it) and HF_HUB_OFFLINE is set; unset it"
            f" once, or run `hf download {model}` where there is a network",
        )
    offline = ("connect", "resolve", "timed out", "unreachable", "LocalEntryNotFound", "offline")
    if any(word in text or any(word in n for n in names) for word in offline):
        return Failed(
            "network",
            f"{key}: {model} is not on this disk (not all of it) and huggingface.co does not"
            f" answer; run `hf download {model}` where there is a network, or name a local folder",
        )
    return Failed("model", f"{key}: {model} does not load: {first_line(error)}")


def is_svd(pipeline):
    return type(pipeline).__name__ == "StableVideoDiffusionPipeline"


class Models:
    """The pipelines that are loaded."""

    def __init__(self, machine, jobs, pipe):
        import diffusers

        diffusers.utils.logging.disable_progress_bar()
        self.diffusers = diffusers
        self.machine = machine
        self.jobs = jobs
        self.pipe = pipe
        self.image = {}
        self.video = {}
        self.schedulers = {}
        self.placed = None

    def _from_pretrained(self, load, model):
        options = {"torch_dtype": self.machine.dtype}
        if self.machine.dtype_name == "float16":
            try:
                return load(model, variant="fp16", **options)
            except (OSError, ValueError) as error:
                if "variant" not in str(error) and "fp16" not in str(error):
                    raise
        return load(model, **options)

    def _load(self, job, key, load):
        model = os.path.expanduser(job["model"])
        self.pipe.say("progress", id=job["id"], what="loading the model", done=None)
        with self.jobs.while_loading(job):
            try:
                pipeline = self._from_pretrained(load, model)
                pipeline.set_progress_bar_config(disable=True)
                if key == "backend.model_id":
                    self._add_loras(pipeline, job["loras"])
                return pipeline
            except Failed:
                raise
            except Exception as error:
                traceback.print_exc()
                raise loading_failed(job["model"], key, error) from error

    def _add_loras(self, pipeline, loras):
        names = []
        for number, lora in enumerate(loras):
            name = lora["name"]
            where = f"backend.loras: {name}"
            if importlib.util.find_spec("peft") is None:
                raise Failed("package", f"{where} needs the Python package peft, which is missing")
            options = {"adapter_name": f"lora{number}"}
            path = os.path.expanduser(name)
            if os.path.isfile(path):
                folder, options["weight_name"] = os.path.split(os.path.abspath(path))
            elif not os.path.isdir(path) and name.count("/") >= 2:
                owner, repository, file = name.split("/", 2)
                folder, options["weight_name"] = f"{owner}/{repository}", file
            else:
                folder = path
            try:
                pipeline.load_lora_weights(folder, **options)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                traceback.print_exc()
                raise Failed(
                    "model",
                    f"{where} does not load: {first_line(error)}; expected a .safetensors file, or"
                    " an id on the Hugging Face hub, made for this model",
                ) from error
            names.append(options["adapter_name"])
        if names:
            pipeline.set_adapters(names, [lora["strength"] for lora in loras])

    def _place(self, pipeline, job):
        if self.placed is not pipeline:
            with self.jobs.while_loading(job):
                self.machine.place(pipeline)
            self.placed = pipeline

    def for_image(self, job):
        if not self.image:
            load = self.diffusers.AutoPipelineForText2Image.from_pretrained
            pipeline = self._load(job, "backend.model_id", load)
            self.image = {False: pipeline}
            self.schedulers[job["model"]] = pipeline.scheduler
        from_picture = job["first"] is not None
        if from_picture not in self.image:
            try:
                auto = self.diffusers.AutoPipelineForImage2Image
                self.image[True] = auto.from_pipe(self.image[False])
                self.image[True].set_progress_bar_config(disable=True)
            except ValueError as error:
                raise Failed(
                    "model",
                    f"backend.model_id: {job['model']} makes no pictures out of pictures:"
                    f" {first_line(error)}",
                ) from error
        pipeline = self.image[from_picture]
        self._place(pipeline, job)
        return pipeline

    def for_video(self, job):
        if not self.video:
            pipeline = self._load(
                job, "backend.video_model_id", self.diffusers.DiffusionPipeline.from_pretrained
            )
            if "image" not in inspect.signature(pipeline.__call__).parameters:
                # Some models have one set of weights for text and pictures, and name the former.
                name = type(pipeline).__name__.replace("Pipeline", "ImageToVideoPipeline")
                other = getattr(self.diffusers, name, None)
                if other is None:
                    raise Failed(
                        "model",
                        f"backend.video_model_id: {job['model']} ({type(pipeline).__name__}) makes"
                        " no clips out of a picture; take an image-to-video model",
                    )
                pipeline = other.from_pipe(pipeline)
                pipeline.set_progress_bar_config(disable=True)
            if is_svd(pipeline) and self.machine.dtype_name == "bfloat16":
                # Its pipeline mixes bfloat16 with float32, which torch refuses.
                torch = self.machine.torch
                pipeline.to(torch.float16 if self.machine.kind == "cuda" else torch.float32)
            self.video = {True: pipeline}
        self._place(self.video[True], job)
        return self.video[True]

    def drop_other(self, kind):
        """Unloads what a job of this kind does not need; returns whether there was anything."""
        other = "video" if kind == "image" else "image"
        had = bool(getattr(self, other))
        setattr(self, other, {})
        self.placed = None
        if other == "image":
            self.schedulers = {}
        self.machine.tidy()
        return had

    def set_sampler(self, pipeline, job, notes):
        own = self.schedulers[job["model"]]
        pipeline.scheduler = type(own).from_config(own.config)
        name = job["sampler"].lower().replace("+", "p")
        plain = "".join(c for c in name if c.isalnum())
        plain = plain.removeprefix("k") if plain.removeprefix("k") in SAMPLERS else plain
        plain = plain.removesuffix("scheduler")
        if plain in ("", "auto", "default"):
            return
        options = {}
        for ending in ("karras", "exponential", "beta"):
            if plain.endswith(ending) and plain != ending:
                plain = plain.removesuffix(ending)
                options[f"use_{ending}_sigmas"] = True
        for name in (plain, plain.removeprefix("k")):
            if name in SAMPLERS:
                found, setup = SAMPLERS[name]
                break
        else:
            notes.append(
                f"the sampler {job['sampler']} is not known here, so {job['model']} uses its own"
            )
            return
        fitting = {c.__name__ for c in own.compatibles} | {type(own).__name__}
        if found not in fitting:
            notes.append(f"{job['model']} does not go with the sampler {job['sampler']} and uses"
                         " its own")
            return
        try:
            pipeline.scheduler = getattr(self.diffusers, found).from_config(
                own.config, **setup, **options
            )
        except (ImportError, ValueError) as error:
            notes.append(f"the sampler {job['sampler']} does not work with {job['model']}, which"
                         f" uses its own: {first_line(error)}")


class Maker:
    """Does jobs."""

    def __init__(self, machine, jobs, pipe):
        self.machine = machine
        self.jobs = jobs
        self.pipe = pipe
        self.models = None
        self.noted = set()

    def make(self, job):
        self.jobs.check(job)
        if self.models is None:
            self.pipe.say("progress", id=job["id"], what="loading diffusers", done=None)
            with self.jobs.while_loading(job):
                try:
                    self.models = Models(self.machine, self.jobs, self.pipe)
                except ImportError as error:
                    traceback.print_exc()
                    raise Failed("package", f"diffusers does not load: {error}") from error
        try:
            return self._make(job)
        except Exception as error:
            if not is_out_of_memory(error) and getattr(error, "kind", None) != "memory":
                raise
            message = first_line(error)
        # Only here, where no traceback holds tensors any more, memory comes back.
        if self.models.drop_other(job["kind"]):
            print("out of memory: unloading the other model and trying again", file=sys.stderr)
            try:
                return self._make(job)
            except Exception as error:
                if not is_out_of_memory(error) and getattr(error, "kind", None) != "memory":
                    raise
                message = first_line(error)
        self.machine.tidy()
        raise Failed("memory", message)

    def _make(self, job):
        notes = []
        if job["kind"] == "image":
            pictures = self._image(job, notes)
        else:
            pictures = self._video(job)
        self.jobs.check(job)
        files = []
        for number, picture in enumerate(pictures):
            name = f"{number:05}.png"
            if picture.size != (job["width"], job["height"]):
                picture = picture.resize((job["width"], job["height"]), resample=3)
            # Little is gained by packing what is read once and deleted.
            picture.convert("RGB").save(os.path.join(job["folder"], name), compress_level=1)
            files.append(name)
        fresh = [note for note in notes if note not in self.noted]
        self.noted.update(fresh)
        return files, fresh

    def _image(self, job, notes):
        pipeline = self.models.for_image(job)
        self.models.set_sampler(pipeline, job, notes)
        steps = max(1, job["steps"])
        values = self._common(job, pipeline, 8)
        values["guidance_scale"] = job["cfg_scale"]
        if job["first"] is not None:
            strength = min(1.0, max(0.0, job["strength"]))
            if strength <= 0.01:
                return [values["image"]]
            values["strength"] = strength
            # It does this share of the steps: at least one.
            steps = max(steps, math.ceil(1.0 / strength))
        values["num_inference_steps"] = steps
        return self._call(job, pipeline, values).images[:1]

    def _video(self, job):
        pipeline = self.models.for_video(job)
        # Its U-Net halves the sides three times and cannot mend an odd one.
        values = self._common(job, pipeline, 64 if is_svd(pipeline) else 32)
        values.update(
            num_inference_steps=max(1, job["steps"]),
            num_frames=job["frames"],
            fps=max(1, round(job["fps"])),
            frame_rate=job["fps"],
            motion_bucket_id=job["motion_bucket_id"],
            noise_aug_strength=job["noise_aug_strength"],
            decode_chunk_size=min(job["frames"], 2 if self.machine.small else 8),
            guidance_scale=job["cfg_scale"],
        )
        made = self._call(job, pipeline, values)
        frames = made.frames[0] if hasattr(made, "frames") else made[0]
        return [self._picture(frame) for frame in frames]

    def _common(self, job, pipeline, step):
        step = max(step, getattr(pipeline, "vae_scale_factor", None) or 8)
        width, height = (max(step, round(job[side] / step) * step) for side in ("width", "height"))
        # On the CPU, so that a seed means the same on every machine.
        generator = self.machine.torch.Generator("cpu").manual_seed(job["seed"] & (2**63 - 1))
        values = {
            "prompt": job["prompt"],
            "negative_prompt": job["negative_prompt"] or None,
            "width": width,
            "height": height,
            "generator": generator,
            "output_type": "pil",
        }
        if job["first"] is not None:
            from PIL import Image

            with Image.open(os.path.join(job["folder"], job["first"])) as picture:
                # Stretched and, at the end, back: cropping would make each clip jump.
                values["image"] = picture.convert("RGB").resize((width, height), resample=3)
        return values

    def _call(self, job, pipeline, values):
        """Calls the pipeline with those of the values that it knows."""
        known = inspect.signature(pipeline.__call__).parameters
        values = {name: value for name, value in values.items() if name in known}
        total = values["num_inference_steps"]

        def stepped(pipeline, step, _, tensors):
            self.jobs.check(job)
            steps = getattr(pipeline, "num_timesteps", None) or total
            done = min(1.0, (step + 1) / max(1, steps))
            self.pipe.say("progress", id=job["id"], what="sampling", done=done)
            return tensors

        if "callback_on_step_end" in known:
            values["callback_on_step_end"] = stepped
        self.pipe.say("progress", id=job["id"], what="sampling", done=0.0)
        with self.machine.torch.inference_mode():
            return pipeline(**values)

    def _picture(self, frame):
        from PIL import Image

        if isinstance(frame, Image.Image):
            return frame
        import numpy

        array = numpy.asarray(frame)
        if array.dtype != numpy.uint8:
            array = (array.clip(0.0, 1.0) * 255.0).round().astype(numpy.uint8)
        return Image.fromarray(array)


def model_notes(models):
    """Which models are not on this disk."""
    notes = []
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return notes
    for key, model in models:
        folder = os.path.expanduser(model or "")
        if not model or os.path.isfile(os.path.join(folder, "model_index.json")):
            continue
        if os.path.isdir(folder):
            raise Failed("model", f"{key}: the folder {model} has no model_index.json; expected a"
                         " model as diffusers saves it")
        if model.startswith((".", "/", "~")) or model.count("/") != 1:
            raise Failed("model", f"{key}: there is no folder {model}, and it is no id on the"
                         " Hugging Face hub (OWNER/NAME)")
        try:
            cached = isinstance(try_to_load_from_cache(model, "model_index.json"), str)
        except Exception as error:
            raise Failed("model", f"{key}: {model} is no id on the Hugging Face hub:"
                         f" {first_line(error)}") from error
        if not cached:
            notes.append(f"{model} ({key}) is not on this disk: the first job downloads it, several"
                         f" gigabytes; `hf download {model}` does so beforehand")
    return notes


def greet(options, pipe):
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        missing = ["pillow" if name == "PIL" else name for name in missing]
        raise Failed(
            "package", f"{sys.executable} lacks the Python package {', '.join(missing)}"
        )
    try:
        import torch
    except Exception as error:
        traceback.print_exc()
        raise Failed("package", f"torch does not load: {first_line(error)}") from error
    from importlib.metadata import version

    machine = Machine(torch, options.device, options.dtype)
    notes = machine.notes + model_notes(
        [("backend.model_id", options.model), ("backend.video_model_id", options.video_model)]
    )
    pipe.say(
        "hello",
        protocol=PROTOCOL,
        python=platform.python_version(),
        diffusers=version("diffusers"),
        torch=torch.__version__,
        device=f"{machine.name}, {machine.dtype_name}",
        notes=notes,
    )
    return machine


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--video-model", "--device", "--dtype"):
        parser.add_argument(name)
    options = parser.parse_args()
    pipe = Pipe()
    jobs = Jobs(pipe)
    jobs.start()
    try:
        machine = greet(options, pipe)
    except Failed as failed:
        pipe.say("failed", id=None, kind=failed.kind, message=str(failed))
        # An ordinary end would wait for the thread at stdin.
        os._exit(1)
    maker = Maker(machine, jobs, pipe)
    while True:
        job = jobs.waiting.get()
        try:
            files, notes = maker.make(job)
            pipe.say("done", id=job["id"], files=files, notes=notes)
        except Failed as failed:
            pipe.say("failed", id=job["id"], kind=failed.kind, message=str(failed))
        except Exception as error:
            traceback.print_exc()
            message = f"{job['model']}: {type(error).__name__}: {first_line(error)}"
            pipe.say("failed", id=job["id"], kind="other", message=message)
        jobs.ended(job)


if __name__ == "__main__":
    main()
