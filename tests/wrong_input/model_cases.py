"""Cases of teachers, model folders and comparisons: name: (make, words, status, message)."""

from wrong_input.makers import damaged, empty_folder, nothing, remove, several, write
from wrong_input.model_makers import (
    NAMES,
    a_pipe,
    cnn,
    comparison,
    config,
    hugging_face,
    not_finite,
    other_cnn,
    own_code,
    pickled,
    weights,
    without,
)

STUDENT = "finetune recipe.yaml --output_dir out --dataset images --teacher cnn"
FLATNESS = "flatness recipe.yaml --dataset images --use_cpu --output out --teachers cnn"
READERS = {
    "classify": "classify model images/train/level1/9.png",
    "evaluate": "evaluate model images --use_cpu",
}
TEACHER_READERS = {
    "teacher of a student": STUDENT,
    "flatness": FLATNESS,
    "classify it": "classify cnn images/train/level1/9.png",
}


def each(readers, *cases):
    """A case for each command that reads the folder."""
    return {
        f"{what}: {reader}": (make, words, 1, message)
        for what, make, message in cases
        for reader, words in readers.items()
    }


TEACHERS = {
    "missing teacher": (
        nothing,
        STUDENT.replace("cnn", "./cnn"),
        1,
        r"teacher \./cnn: cannot be loaded \(no such folder",
    ),
    "teacher of no name": (
        nothing,
        STUDENT.replace("cnn", "resnet_that_is_not"),
        1,
        r"teacher resnet_that_is_not: cannot",
    ),
    "Hub id offline": (
        nothing,
        STUDENT.replace("cnn", "nobody/nothing"),
        1,
        r"teacher nobody/nothing: cannot be loaded",
    ),
    "timm's Hub id offline": (
        nothing,
        STUDENT.replace("cnn", "hf-hub:nobody/nothing"),
        1,
        r"teacher hf-hub:nobody/nothing: cannot be loaded",
    ),
    "teacher of a long name": (
        nothing,
        STUDENT.replace("cnn", "a" * 5000),
        1,
        r"teacher a{80}\.\.\.: cannot be loaded",
    ),
    "teacher of nobody's home": (nothing, STUDENT.replace("cnn", "~nobody-here/cnn"), 1, r"cannot be loaded"),
    "teacher with other classes": (
        other_cnn(names=["cat", "dog", "level2"]),
        STUDENT,
        1,
        r"lacks the classes 'level0', 'level1'; name its outputs",
    ),
    "teacher with more classes": (
        other_cnn(names=[*NAMES, "x"], outputs=4),
        STUDENT,
        1,
        r"has 4 classes, the data have 3; train it on these data",
    ),
    "teacher with too few names": (other_cnn(names=["level0"]), STUDENT, 1, r"1 names for 3 outputs"),
    "teacher near chance": (other_cnn(), STUDENT, 1, r"the teacher is near chance"),
    "own names: no file": (cnn, STUDENT + " --teacher_class_names no.txt", 1, r"no\.txt: cannot be read"),
    "own names: a folder": (cnn, STUDENT + " --teacher_class_names images", 1, r"images: cannot be read"),
    "own names: too few": (
        several(cnn, write("n.txt", "level0\nlevel1\n")),
        STUDENT + " --teacher_class_names n.txt",
        1,
        r"2 names for 3",
    ),
    "own names: twice": (
        several(cnn, write("n.txt", "level0\nlevel1\nlevel1\n")),
        STUDENT + " --teacher_class_names n.txt",
        1,
        r"lacks the classes 'level2'",
    ),
    "own names: empty line": (
        several(cnn, write("n.txt", "level0\n\nlevel2\n")),
        STUDENT + " --teacher_class_names n.txt",
        1,
        r"line 2 is empty",
    ),
    "own names: binary": (
        several(cnn, write("n.txt", b"\xff\xfe\x00")),
        STUDENT + " --teacher_class_names n.txt",
        1,
        r"cannot be read",
    ),
    "published file": (
        pickled("ckpt.best.pth.tar"),
        STUDENT.replace("cnn", "ckpt.best.pth.tar"),
        1,
        r"it is a file; .*torch\.load\(FILE, weights_only=True\)",
    ),
    "a file of a name with a folder": (
        pickled("t/a.pth"),
        STUDENT.replace("cnn", "t/a.pth"),
        1,
        r"it is a file; of weights alone",
    ),
    **each(
        TEACHER_READERS,
        ("empty folder", empty_folder("cnn"), r"config\.json"),
        ("no weights", several(cnn, remove("cnn/model.safetensors")), r"it has no model\.safetensors"),
        ("cut off", several(cnn, damaged("cnn/model.safetensors", keep=0.5)), r"cnn: cannot be loaded"),
        ("zeros", several(cnn, write("cnn/model.safetensors", bytes(5000))), r"cnn: cannot be loaded"),
        (
            "a header of 2**62",
            several(cnn, write("cnn/model.safetensors", b"\0" * 7 + b"@{}")),
            r"cnn: cannot be loaded",
        ),
        ("NaN", several(cnn, weights(not_finite, "cnn")), r"cnn holds weights that are not finite \(\w"),
        ("no classifier", several(cnn, weights(without("fc."), "cnn")), r"cnn: cannot be loaded .*fc\.weight"),
        (
            "other architecture",
            several(cnn, config("cnn/config.json", architecture="resnet20_cifar")),
            r"cannot be loaded",
        ),
        ("architecture a number", several(cnn, config("cnn/config.json", architecture=3)), r"cannot be loaded"),
        ("config a list", several(cnn, write("cnn/config.json", "[]")), r"cnn.*(cannot be|holds no settings)"),
        ("config cut off", several(cnn, damaged("cnn/config.json", keep=0.5)), r"cnn.*cannot be"),
        (
            "pickle alone",
            several(cnn, remove("cnn/model.safetensors"), pickled("cnn/pytorch_model.bin")),
            r"its weights are in pytorch_model\.bin, and such files can run code",
        ),
        (
            "an old pickle alone",
            several(cnn, remove("cnn/model.safetensors"), pickled("cnn/model.pth", "pickle")),
            r"its weights are in model\.pth, and such files can run code",
        ),
        ("Hugging Face pickle", hugging_face, r"its weights are in pytorch_model\.bin, and such files can run code"),
        ("pickle of safetensors' name", several(cnn, pickled("cnn/model.safetensors", "pickle")), r"cannot be loaded"),
        (
            "code of its own",
            own_code,
            r"it brings code of its own, which is not run; if you trust it, load it in Python",
        ),
    ),
}

MODELS = {
    **each(
        READERS,
        ("no folder", remove("model"), r"model is not a model folder: it has no config\.json"),
        ("empty folder", several(remove("model"), empty_folder("model")), r"it has no config\.json"),
        ("file", several(remove("model"), write("model", "x")), r"it has no config\.json"),
        ("no processor", remove("model/preprocessor_config.json"), r"model has no image processor"),
        ("processor cut off", damaged("model/preprocessor_config.json", keep=0.5), r"model has no image processor"),
        (
            "processor of another size",
            config("model/preprocessor_config.json", crop_size={"height": 9, "width": 9}),
            r"image processor do not fit",
        ),
        ("processor of words", config("model/preprocessor_config.json", image_mean="grey"), r"image processor"),
        ("no weights", remove("model/model.safetensors"), r"it has no \*\.safetensors"),
        (
            "weights cut off",
            damaged("model/model.safetensors", keep=0.5),
            r"model cannot be loaded as a DeiT-LT student",
        ),
        ("no classifier", weights(without("classifier")), r"does not hold the weights of a DeiT-LT student"),
        ("NaN", weights(not_finite), r"model holds weights that are not finite"),
        (
            "pickle alone",
            several(remove("model/model.safetensors"), pickled("model/pytorch_model.bin")),
            r"its weights are in pytorch_model\.bin, and such files can run code",
        ),
        ("config a list", write("model/config.json", "[]"), r"config\.json cannot be read"),
        ("config of words", write("model/config.json", '"model"'), r"config\.json cannot be read"),
        ("config binary", write("model/config.json", b"\xff\x00"), r"config\.json cannot be read"),
        ("other sizes", config(hidden_size=32), r"model (cannot be loaded|does not hold)"),
        ("sizes of words", config(hidden_size="wide"), r"model cannot be loaded"),
        (
            "fewer names",
            config(id2label={"0": "a"}, label2id={"a": 0}),
            r"model (cannot be loaded|does not hold|does not name)",
        ),
        ("names without order", config(id2label={"a": "x", "b": "y", "c": "z"}), r"model "),
        ("another kind", config(model_type="bert"), r"model"),
    ),
    **{
        f"metrics: {what}": (make, READERS["evaluate"], 1, message)
        for what, make, message in (
            ("cut off", write("model/metrics.json", '{"data": '), r"metrics\.json cannot be read"),
            ("a list", write("model/metrics.json", "[]"), r"metrics\.json does not hold"),
            ("data of words", write("model/metrics.json", '{"data": "digits"}'), r"metrics\.json"),
            ("data a list", write("model/metrics.json", '{"data": ["test_fraction"]}'), r"metrics\.json is damaged"),
            (
                "fraction of words",
                write("model/metrics.json", '{"data": {"test_fraction": "x"}}'),
                r"metrics\.json is damaged",
            ),
            (
                "fraction of 7",
                write("model/metrics.json", '{"data": {"test_fraction": 7}}'),
                r"metrics\.json is damaged",
            ),
            ("boundaries", write("model/metrics.json", '{"group_boundaries": {"a": 1}}'), r"metrics\.json is damaged"),
            ("counts of words", config(class_counts=["a", "b", "c"]), r"model"),
            ("counts of nothing", config(class_counts=[0, 0, 0]), r"model"),
            ("too few counts", config(class_counts=[3]), r"model"),
        )
    },
    "evaluate: precision": (nothing, READERS["evaluate"] + " --precision half", 2, r"precision must be one of"),
    "evaluate: batch": (nothing, READERS["evaluate"] + " --batch_size 0", 2, r"batch_size must lie in"),
    "evaluate: groups": (nothing, READERS["evaluate"] + " --group_boundaries x y", 2, r"group_boundaries"),
    "evaluate: output's folder": (
        nothing,
        READERS["evaluate"] + " --output no/report.json",
        2,
        r"there is no folder no",
    ),
    "evaluate: output is a folder": (nothing, READERS["evaluate"] + " --output images", 2, r"images is a folder"),
    "evaluate: output is a device": (a_pipe, READERS["evaluate"] + " --output pipe", 2, r"pipe is no file"),
    "classify: none": (nothing, READERS["classify"] + " --top 0", 2, r"top must lie in"),
    "flatness: no teachers": (nothing, "flatness recipe.yaml", 2, r"required: --teachers"),
    "flatness: radius": (cnn, FLATNESS + " --radii -1", 2, r"radii must be finite and above 0"),
    "flatness: one draw": (cnn, FLATNESS + " --draws 1", 2, r"draws must lie in"),
    "evaluate-teacher: none": (
        nothing,
        "evaluate-teacher recipe.yaml --dataset images --output_dir out",
        1,
        r"names no teacher",
    ),
    "evaluate-teacher: missing": (
        nothing,
        "evaluate-teacher recipe.yaml --dataset images --output_dir out --teacher ./cnn",
        1,
        r"no such folder",
    ),
    "evaluate-teacher: images": (nothing, "evaluate-teacher recipe.yaml --num_images 0", 2, r"num_images must lie in"),
}

COMPARE = "compare recipe.yaml --runs runs --dataset images --variants full"
COMPARISONS = {
    "a seed twice": (nothing, COMPARE + " --seeds 1 1", 1, r"2 runs would share the folder"),
    "a variant twice": (nothing, "compare recipe.yaml --runs runs --variants full full", 1, r"2 runs would share"),
    "unknown variant": (nothing, "compare recipe.yaml --variants best", 2, r"variants must be of .*, got best"),
    "no seeds": (nothing, COMPARE + " --seeds", 2, r"expected at least one argument"),
    "negative seed": (nothing, COMPARE + " --seeds -1", 2, r"seed must lie in|expected"),
    "seed of letters": (nothing, COMPARE + " --seeds one", 2, r"seeds must be a whole number, or several"),
    "own output_dir": (nothing, COMPARE + " --output_dir out", 2, r"chooses output_dir itself"),
    "results hold other work": (
        write("mine.json", '{"mine": 1}'),
        COMPARE + " --results mine.json",
        1,
        r"mine\.json holds something else",
    ),
    "results are a device": (a_pipe, COMPARE + " --results pipe", 1, r"pipe holds something else"),
    "runs are a file": (nothing, "compare recipe.yaml --runs recipe.yaml", 1, r"File exists: recipe\.yaml"),
    "a run without settings": (comparison(), COMPARE, 1, r"does not say what it was made from"),
    "a run with settings of words": (
        write("runs/full_seed0/settings.json", '{"settings": "mine"}'),
        COMPARE,
        1,
        r"has other settings",
    ),
    "name that is a recipe": (
        nothing,
        "compare-teachers teacher.yaml teacher.yaml",
        2,
        r"the first word is the comparison's name",
    ),
    "vary without values": (
        nothing,
        "compare-teachers x teacher.yaml --vary momentum",
        2,
        r"a setting and its values",
    ),
    "vary the seed": (nothing, "compare-teachers x teacher.yaml --vary seed 1 2", 2, r"give the seeds with --seeds"),
    "vary nothing known": (nothing, "compare-teachers x teacher.yaml --vary alhpa 1 2", 2, r"unknown key alhpa"),
}
